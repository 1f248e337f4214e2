// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Sheet} from "./libraries/Sheet.sol";
import {Statements} from "./libraries/Statements.sol";
import {Typed} from "./libraries/Typed.sol";
import {Words} from "./libraries/Words.sol";

contract Market is IMarket, Typed, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Words for uint256;
    using Words for uint256[];

    uint256 public constant OFFERS_MAX = 64;
    uint256 public constant DEADLINE_SECONDS_MAX = 3650 days;
    uint256 public constant CANCEL_SECONDS = 10 minutes;
    uint256 public constant GRACE_SECONDS = 1 days;

    uint256 private constant SUCCEEDED = 0;
    uint256 private constant FAILED = 1;
    uint256 private constant CANCELLED = 2;
    /// Not an outcome: seconds of an order that goes on.
    uint256 private constant CLAIMED = 3;

    bytes32 private constant REFUNDED = bytes32(uint256(1));
    bytes32 private constant FORFEITED = bytes32(uint256(2));

    uint8 private constant SLASH_DOUBLE_REPORT = 2;
    uint8 private constant SLASH_NO_REPORT = 3;
    uint8 private constant SLASH_REVOKED = 4;

    uint8 private constant KIND_LAST = 4;

    uint256 private constant STARTED = 1;
    uint256 private constant ENDING = 2;

    /// Bits of an order's words that only the contract sets, and bits that nobody sets.
    uint256 private constant PRICES_OWN = type(uint32).max;
    uint256 private constant TIMES_OWN = uint256(type(uint40).max) << 176 | type(uint104).max;

    /// An offer's slot: revokedFrom (64) validFrom (40) disabled (1) runs (32) known (1). Set for an offer that
    /// was published, used with a limit of runs, disabled or revoked.
    uint256 private constant OFFER_KNOWN = 1;
    uint256 private constant OFFER_ONE_RUN = 1 << 1;
    uint256 private constant OFFER_RUNS_SHIFT = 1;
    uint256 private constant OFFER_DISABLED = 1 << 33;
    uint256 private constant OFFER_VALID_SHIFT = 34;
    uint256 private constant OFFER_REVOKED_SHIFT = 74;
    uint256 private constant OFFER_BYTES = 32 * Words.WORDS_PER_OFFER;
    uint256 private constant PAYEE_BYTES = 32 * Words.WORDS_PER_PAYEE;

    struct ChannelSlot {
        uint96 depositWei;
        uint96 claimedWei;
        bool isOpen;
    }

    mapping(bytes32 orderId => bytes32) private anchors;
    mapping(bytes32 offerId => uint256) private offerSlots;
    mapping(address token => mapping(address account => uint256)) private balances;

    /// leader (160) term (48) revision (48): laid out as assignments are.
    uint256 private fence;
    /// What the registry says of a node that may run orders: operator (160) notAfter (48) revision (48). Zero:
    /// it may not. While the revision is the fence's, no measurement was revoked since, its own included.
    mapping(address node => uint256) private runners;
    mapping(bytes32 channelId => ChannelSlot) private channels;

    IRegistry private immutable REGISTRY;

    constructor(IRegistry registry_) Typed("Cloister Market") {
        if (registry_.market() != address(this)) revert NotOwner();
        REGISTRY = registry_;
    }

    /// @inheritdoc IMarket
    function publishOffer(Offer calldata offer, bytes calldata signature) external returns (bytes32 offerId) {
        offerId = _offerId(offer);
        _requireOwner(offer.owner, offerId, offerId, signature);
        offerSlots[offerId] |= OFFER_KNOWN;
        emit OfferPublished(offerId, offer.owner, offer.kind, offer.terms, offer.content);
    }

    /// @inheritdoc IMarket
    function revokeOffer(uint256[] calldata words, uint64 fromTime, bytes calldata signature) external {
        (bytes32 offerId, address owner) = _offerOf(words);
        bytes32 hash = keccak256(abi.encode(Statements.OFFER_REVOCATION_TYPEHASH, offerId, fromTime));
        _requireOwner(owner, offerId, _digest(hash), signature);
        _revoke(offerId, owner, fromTime);
    }

    /// @inheritdoc IMarket
    function changeOffer(uint256[] calldata words, Offer calldata next, uint64 fromTime, bytes calldata signature)
        external
        returns (bytes32 nextId)
    {
        (bytes32 offerId, address owner) = _offerOf(words);
        if (next.owner != owner) revert NotOwner();
        nextId = _offerId(next);
        bytes32 hash = keccak256(abi.encode(Statements.OFFER_CHANGE_TYPEHASH, offerId, nextId, fromTime));
        _requireOwner(owner, offerId, _digest(hash), signature);
        if (offerSlots[nextId] != 0) revert OfferExists(nextId);
        uint64 from = _revoke(offerId, owner, fromTime);
        if (from > type(uint40).max) revert DeadlineTooFar();
        offerSlots[nextId] = OFFER_KNOWN | (from > block.timestamp ? uint256(from) << OFFER_VALID_SHIFT : 0);
        emit OfferPublished(nextId, owner, next.kind, next.terms, next.content);
        emit OfferChanged(offerId, nextId, from);
    }

    /// @inheritdoc IMarket
    function enableOffer(uint256[] calldata words, bool enabled) external {
        (bytes32 offerId, address owner) = _offerOf(words);
        if (msg.sender != owner) revert NotOwner();
        uint256 slot = offerSlots[offerId];
        offerSlots[offerId] = enabled ? slot & ~OFFER_DISABLED : slot | OFFER_DISABLED;
        emit OfferEnabled(offerId, owner, enabled);
    }

    /// @inheritdoc IMarket
    function open(
        uint256[4] calldata head,
        bytes32[3] calldata digests,
        uint256[] calldata offers,
        bytes[] calldata proofs
    ) external payable returns (bytes32 orderId) {
        if (msg.sender != head[0].upperAddress()) revert NotClient();
        orderId = _open(head, digests, offers, proofs);
        _collect(head[1].upperAddress(), msg.sender, head[0].lowerAmount());
    }

    /// @inheritdoc IMarket
    function openFor(
        uint256[4] calldata head,
        bytes32[3] calldata digests,
        uint256[] calldata offers,
        bytes[] calldata proofs,
        bytes calldata signature,
        bytes calldata permit
    ) external payable returns (bytes32 orderId) {
        address client = head[0].upperAddress();
        orderId = _open(head, digests, offers, proofs);
        if (msg.sender != client && !SignatureChecker.isValidSignatureNow(client, orderId, signature)) {
            revert NotClient();
        }
        address token = head[1].upperAddress();
        _permit(token, client, permit);
        _collect(token, client, head[0].lowerAmount());
    }

    /// @inheritdoc IMarket
    function start(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[2] calldata leaderSignature,
        bytes32[2] calldata nodeSignature
    ) external {
        _requireSlots(orderId, head[3], assignment, more, leaderSignature);
        _requireNode(_digest(keccak256(abi.encode(Statements.START_TYPEHASH, orderId))), assignment, nodeSignature);
        uint256[4] memory words = head;
        _requireOpen(orderId, words, payees);
        if (block.timestamp > words[3].deadline()) revert DeadlinePassed();
        if (words[3].state() & STARTED != 0 || words[2].secondsPaid() != 0) revert AlreadyStarted();
        words[3] = words[3].withOpenedAt(block.timestamp).withState(STARTED);
        anchors[orderId] = Words.commitment(words, payees);
        emit OrderStarted(orderId, assignment.upperAddress(), words);
    }

    /// @inheritdoc IMarket
    function settle(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        bytes32[2] calldata leaderSignature,
        ReportWords calldata report,
        bytes32[2] calldata nodeSignature
    ) external {
        bytes32 separator = _domainSeparator();
        bytes32 digest = _digestUnder(separator, Statements.hashAssignment(orderId, assignment));
        address operator = _requireAssigned(digest, assignment, leaderSignature);
        digest = _digestUnder(separator, Statements.hashReport(orderId, report));
        _requireNode(digest, assignment, nodeSignature);
        if (head[3].slots() != 1) revert SlotsInvalid();
        _settle(orderId, head, payees, report, assignment.upperAddress(), operator, 0);
    }

    /// @inheritdoc IMarket
    function settleSlots(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[2] calldata leaderSignature,
        ReportWords calldata report,
        bytes32[2] calldata nodeSignature
    ) external {
        address operator = _requireSlots(orderId, head[3], assignment, more, leaderSignature);
        bytes32 hash = Statements.hashReport(orderId, report);
        if (more.length != 0) hash = Statements.hashSlotsReport(hash, more);
        _requireNode(_digest(hash), assignment, nodeSignature);
        uint256[4] memory words = head;
        uint256 most = _payableSeconds(words[2], words[3], uint32(report.result));
        uint256 slotsWei = _paySlots(orderId, words, assignment, more, report.result >> 64, most);
        _settle(orderId, head, payees, report, assignment.upperAddress(), operator, slotsWei);
    }

    /// @inheritdoc IMarket
    function settleBatch(
        Settlement[] calldata settlements,
        uint256 assignment,
        bytes32[2] calldata leaderSignature,
        bytes32[2] calldata nodeSignature
    ) external {
        bytes32[] memory hashes = new bytes32[](settlements.length);
        for (uint256 i; i < hashes.length; ++i) {
            hashes[i] = settlements[i].orderId;
        }
        bytes32 orderIdsHash = keccak256(abi.encodePacked(hashes));
        bytes32 digest = _digest(Statements.hashAssignmentBatch(orderIdsHash, assignment));
        address operator = _requireAssigned(digest, assignment, leaderSignature);
        for (uint256 i; i < hashes.length; ++i) {
            hashes[i] = Statements.hashReport(settlements[i].orderId, settlements[i].report);
        }
        _requireNode(_digest(Statements.hashReportBatch(hashes)), assignment, nodeSignature);
        for (uint256 i; i < hashes.length; ++i) {
            Settlement calldata item = settlements[i];
            if (item.head[3].slots() != 1) revert SlotsInvalid();
            _settle(item.orderId, item.head, item.payees, item.report, assignment.upperAddress(), operator, 0);
        }
    }

    /// @inheritdoc IMarket
    function claim(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[2] calldata leaderSignature,
        uint32 secondsUsed,
        bytes32[2] calldata nodeSignature
    ) external {
        address operator = _requireSlots(orderId, head[3], assignment, more, leaderSignature);
        bytes32 hash = more.length == 0
            ? Statements.hashHeartbeat(orderId, secondsUsed)
            : Statements.hashSlotsHeartbeat(orderId, secondsUsed, more);
        _requireNode(_digest(hash), assignment, nodeSignature);
        uint256[4] memory words = head;
        _requireOpen(orderId, words, payees);
        if (block.timestamp > _endOf(words[2], words[3])) revert DeadlinePassed();
        uint256 payable_ = _payableSeconds(words[2], words[3], secondsUsed);
        if (payable_ <= words[2].secondsPaid()) revert ReportInvalid();
        uint256 paidWei = _paySlots(orderId, words, assignment, more, CLAIMED, payable_);
        paidWei += _payShares(words[1], words[2], payees, CLAIMED, payable_, operator);
        words[2] += payable_ - words[2].secondsPaid();
        words[3] += paidWei;
        anchors[orderId] = Words.commitment(words, payees);
        emit OrderClaimed(orderId, assignment.upperAddress(), words);
    }

    /// @inheritdoc IMarket
    function extend(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint96 addWei,
        uint32 addSeconds,
        uint40 deadline
    ) external payable {
        uint256[4] memory words = head;
        _requireOpenByClient(orderId, words, payees);
        if (deadline < words[3].deadline()) revert DeadlineNotPassed(words[3].deadline());
        if (deadline < block.timestamp) revert DeadlinePassed();
        if (deadline > block.timestamp + DEADLINE_SECONDS_MAX) revert DeadlineTooFar();
        uint256 depositWei = words[0].lowerAmount() + addWei;
        uint256 secondsMax = words[2].secondsMax() + addSeconds;
        if (depositWei > type(uint96).max || secondsMax > type(uint32).max) revert WordsInvalid();
        words[0] += addWei;
        words[2] = words[2].withSecondsMax(secondsMax);
        words[3] = words[3].withDeadline(deadline);
        uint256 wantedWei = words[1].lowerAmount()
            + words[3].slots() * (words[2].upperAmount() + words[2].middleAmount() * secondsMax);
        for (uint256 i; i < payees.length; i += Words.WORDS_PER_PAYEE) {
            uint256 rates = payees[i + 1];
            uint256 most = rates.secondsAllowed();
            if (most != 0 && secondsMax > most) revert SecondsRefused(secondsMax, most);
            wantedWei += payees[i].lowerAmount() + rates.upperAmount() * secondsMax;
        }
        if (depositWei < wantedWei) revert DepositTooSmall(depositWei, wantedWei);
        anchors[orderId] = Words.commitment(words, payees);
        emit OrderChanged(orderId, words);
        _collect(words[1].upperAddress(), msg.sender, addWei);
    }

    /// @inheritdoc IMarket
    function cancel(bytes32 orderId, uint256[4] calldata head, uint256[] calldata payees) external {
        uint256[4] memory words = head;
        _requireOpenByClient(orderId, words, payees);
        uint256 deadline = block.timestamp + CANCEL_SECONDS;
        if (deadline >= words[3].deadline()) revert DeadlinePassed();
        words[3] = words[3].withDeadline(deadline).withState(ENDING);
        anchors[orderId] = Words.commitment(words, payees);
        emit OrderChanged(orderId, words);
    }

    /// @inheritdoc IMarket
    function refund(bytes32 orderId, uint256[4] calldata head, uint256[] calldata payees) external {
        if (anchors[orderId] != Words.commitmentOf(head, payees)) revert EscrowMismatch(orderId);
        uint256 end = _endOf(head[2], head[3]);
        if (block.timestamp <= end) revert DeadlineNotPassed(end);
        anchors[orderId] = REFUNDED;
        _pay(head, payees, FAILED, 0, address(0), 0);
        emit OrderRefunded(orderId);
    }

    /// @inheritdoc IMarket
    function forfeit(
        bytes32 orderId,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[] calldata batch,
        bytes32[2] calldata leaderSignature
    ) external {
        if (anchors[orderId] != REFUNDED) revert EvidenceRejected();
        bytes32 hash = batch.length == 0
            ? _hashAssignment(orderId, assignment, more)
            : Statements.hashAssignmentBatch(_hashWith(batch, orderId), assignment);
        address leader = REGISTRY.leaderOf(uint64(assignment >> 48 & type(uint48).max));
        if (leader == address(0) || Signatures.recover(_digest(hash), leaderSignature) != leader) {
            revert EvidenceRejected();
        }
        anchors[orderId] = FORFEITED;
        emit OrderForfeited(orderId, assignment.upperAddress());
        REGISTRY.slash(assignment.upperAddress(), SLASH_NO_REPORT);
    }

    /// @inheritdoc IMarket
    function proveDoubleReport(bytes32 orderId, SignedReport calldata reportA, SignedReport calldata reportB)
        external
    {
        (bytes32 hashA, address nodeA) = _signerOf(orderId, reportA);
        (bytes32 hashB, address nodeB) = _signerOf(orderId, reportB);
        if (hashA == hashB || nodeA != nodeB || nodeA == address(0)) revert EvidenceRejected();
        REGISTRY.slash(nodeA, SLASH_DOUBLE_REPORT);
    }

    /// @inheritdoc IMarket
    function proveRevokedReport(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        SignedReport calldata report
    ) external {
        if (anchors[orderId] != Words.commitmentOf(head, payees)) revert EscrowMismatch(orderId);
        (, address node) = _signerOf(orderId, report);
        uint256 lateAfter = REGISTRY.lateAfter(node);
        // A start moves the time in the head to a later one, which proves nothing about who signed before it.
        if (lateAfter == 0 || head[3].openedAt() <= lateAfter || head[3].state() & STARTED != 0) {
            revert EvidenceRejected();
        }
        REGISTRY.slash(node, SLASH_REVOKED);
    }

    /// @inheritdoc IMarket
    function deposit(address token, address account, uint256 amount) external payable {
        _deposit(token, account, amount);
    }

    /// @inheritdoc IMarket
    function depositWithPermit(address token, address account, uint256 amount, bytes calldata permit) external {
        _permit(token, msg.sender, permit);
        _deposit(token, account, amount);
    }

    function _deposit(address token, address account, uint256 amount) private {
        uint256 received = amount;
        if (token == address(0)) {
            if (msg.value != amount) revert ValueMismatch();
        } else {
            if (msg.value != 0) revert ValueMismatch();
            received = _pull(token, msg.sender, amount);
        }
        balances[token][account] += received;
        emit Deposited(token, account, received);
    }

    /// @inheritdoc IMarket
    function withdraw(address token, address to, uint256 amount) external nonReentrant {
        _debit(token, msg.sender, amount);
        emit Withdrawn(token, msg.sender, to, amount);
        if (token != address(0)) {
            IERC20(token).safeTransfer(to, amount);
        } else {
            (bool sent,) = to.call{value: amount}("");
            if (!sent) revert TransferFailed();
        }
    }

    /// @inheritdoc IMarket
    function splitAddress(address[] calldata accounts, uint16[] calldata sharesBps) public view returns (address) {
        return _splitAddress(accounts, sharesBps);
    }

    /// @inheritdoc IMarket
    function distribute(address token, address[] calldata accounts, uint16[] calldata sharesBps) external {
        address split = _splitAddress(accounts, sharesBps);
        uint256 amount = balances[token][split];
        uint256 paid;
        for (uint256 i; i < accounts.length; ++i) {
            uint256 shareDown = amount * sharesBps[i] / Words.BPS_WHOLE;
            paid += shareDown;
            balances[token][accounts[i]] += shareDown;
        }
        // What rounding leaves stays with the split, for the next time.
        _debit(token, split, paid);
        emit SplitDistributed(token, split, paid, accounts, sharesBps);
    }

    /// @inheritdoc IMarket
    function serviceSplit(uint256[4] calldata head, uint256[] calldata payees)
        external
        view
        returns (address split, address[] memory accounts, uint16[] memory sharesBps)
    {
        uint256 count = payees.length / Words.WORDS_PER_PAYEE;
        accounts = new address[](count + 1);
        sharesBps = new uint16[](count + 1);
        uint256 rest = Words.BPS_WHOLE;
        for (uint256 i; i < count; ++i) {
            accounts[i] = payees[2 * i].upperAddress();
            sharesBps[i] = uint16(payees[2 * i + 1].shareBps());
            rest -= sharesBps[i];
        }
        (accounts[count], sharesBps[count]) = (head[0].upperAddress(), uint16(rest));
        split = _splitAddress(accounts, sharesBps);
    }

    /// @inheritdoc IMarket
    function fundChannel(Channel calldata channel, uint96 addWei) external payable returns (bytes32 channelId) {
        if (msg.sender != channel.consumer) revert NotClient();
        if (block.timestamp >= channel.expiry) revert DeadlinePassed();
        channelId = _channelId(channel);
        ChannelSlot storage slot = channels[channelId];
        slot.depositWei += addWei;
        slot.isOpen = true;
        emit ChannelFunded(channelId, msg.sender, channel, addWei);
        _collect(channel.token, msg.sender, addWei);
    }

    /// @inheritdoc IMarket
    function claimVoucher(Channel calldata channel, uint96 cumulativeWei, bytes32[2] calldata signature) external {
        bytes32 channelId = _channelId(channel);
        ChannelSlot memory slot = channels[channelId];
        if (!slot.isOpen) revert ChannelUnknown(channelId);
        if (cumulativeWei <= slot.claimedWei) revert VoucherNotNewer(cumulativeWei, slot.claimedWei);
        if (cumulativeWei > slot.depositWei) revert VoucherTooHigh(cumulativeWei, slot.depositWei);
        bytes32 digest = _digest(Statements.hashVoucher(channelId, cumulativeWei));
        if (Signatures.recover(digest, signature) != channel.consumer) revert SignatureInvalid();
        channels[channelId].claimedWei = cumulativeWei;
        uint256 amountWei = cumulativeWei - slot.claimedWei;
        balances[channel.token][channel.payee] += amountWei;
        emit VoucherClaimed(channelId, channel.payee, channel.token, amountWei);
    }

    /// @inheritdoc IMarket
    function closeChannel(Channel calldata channel) external {
        bytes32 channelId = _channelId(channel);
        ChannelSlot memory slot = channels[channelId];
        if (!slot.isOpen) revert ChannelUnknown(channelId);
        if (block.timestamp < channel.expiry) revert ChannelNotExpired(channel.expiry);
        // What was claimed stays on record: an old voucher must not count anew.
        channels[channelId].isOpen = false;
        channels[channelId].depositWei = slot.claimedWei;
        uint256 restWei = slot.depositWei - slot.claimedWei;
        balances[channel.token][channel.consumer] += restWei;
        emit ChannelClosed(channelId, channel.consumer, channel.token, restWei);
    }

    /// @inheritdoc IMarket
    function setFence(address leader, uint48 term, uint16 revision) external {
        if (msg.sender != address(REGISTRY)) revert NotRegistry();
        fence = Words.triple(leader, term, revision);
    }

    /// @inheritdoc IMarket
    function setRunner(address node, address operator, uint40 notAfter, uint16 revision) external {
        if (msg.sender != address(REGISTRY)) revert NotRegistry();
        runners[node] = Words.triple(operator, notAfter, revision);
    }

    function channelState(bytes32 channelId)
        external
        view
        returns (uint96 depositWei, uint96 claimedWei, bool isOpen)
    {
        ChannelSlot storage slot = channels[channelId];
        return (slot.depositWei, slot.claimedWei, slot.isOpen);
    }

    function balanceOf(address token, address account) external view returns (uint256) {
        return balances[token][account];
    }

    function offerState(bytes32 offerId) external view returns (bool known, uint32 runs, uint64 revokedFrom) {
        uint256 slot = offerSlots[offerId];
        return (slot & OFFER_KNOWN != 0, uint32(slot >> OFFER_RUNS_SHIFT), uint64(slot >> OFFER_REVOKED_SHIFT));
    }

    function offerTimes(bytes32 offerId) external view returns (bool enabled, uint40 validFrom) {
        uint256 slot = offerSlots[offerId];
        return (slot & OFFER_DISABLED == 0, uint40(slot >> OFFER_VALID_SHIFT));
    }

    function anchorOf(bytes32 orderId) external view returns (bytes32) {
        return anchors[orderId];
    }

    function registry() external view returns (address) {
        return address(REGISTRY);
    }

    function domainSeparator() external view returns (bytes32) {
        return _domainSeparator();
    }

    function _open(
        uint256[4] calldata head,
        bytes32[3] calldata digests,
        uint256[] calldata offers,
        bytes[] calldata proofs
    ) private returns (bytes32 orderId) {
        uint256 count = offers.length / Words.WORDS_PER_OFFER;
        if (count == 0 || count > OFFERS_MAX || offers.length % Words.WORDS_PER_OFFER != 0) revert OffersCount(count);
        if (proofs.length != 0 && proofs.length != count) revert OffersCount(proofs.length);
        if (head[2] & PRICES_OWN | head[3] & TIMES_OWN != 0) revert WordsInvalid();
        if (head[3].slots() == 0) revert SlotsInvalid();
        // Amounts have 96 bits and seconds 32: no sum over OFFERS_MAX offers can overflow.
        unchecked {
            uint256 passed = head[3].deadline() - block.timestamp - 1;
            if (passed >= DEADLINE_SECONDS_MAX) _refuseDeadline(head[3].deadline());
            Sheet.begin(_domainSeparator(), head, digests, count);
            _useAll(offers, proofs);
            orderId = Sheet.orderId();
            if (anchors[orderId] == 0) {
                anchors[orderId] = Sheet.commitment();
                Sheet.emitOpened(OrderOpened.selector, orderId);
                // A function that returns early is not copied into each of its callers, for which there is no room.
                return orderId;
            }
            revert OrderExists(orderId);
        }
    }

    function _refuseDeadline(uint256 deadline) private view {
        if (deadline <= block.timestamp) revert DeadlinePassed();
        revert DeadlineTooFar();
    }

    /// Checks all of each offer's consent that the chain can check, counts the run, and requires that the deposit
    /// covers what all offers and the compute cost at most.
    function _useAll(uint256[] calldata offers, bytes[] calldata proofs) private {
        // Amounts have 96 bits and seconds 32: no sum over OFFERS_MAX offers can overflow.
        unchecked {
            uint256 wantedWei = Sheet.computeWei();
            uint256 sharesBps;
            uint256 words = Words.begin(offers);
            uint256 end = words + 32 * offers.length;
            uint256 cursor = Sheet.first();
            while (words != end) {
                bytes32 offerId = Sheet.offerId(words, cursor);
                uint256 refusal = Sheet.judge(words);
                if (refusal != 0) _refuse(refusal, offerId);
                wantedWei += Sheet.offerWei();
                sharesBps += Sheet.shareBps();
                uint256 slot = offerSlots[offerId];
                if (slot ^ OFFER_KNOWN | Sheet.restrictions() != 0) {
                    _useRestricted(slot, offerId, words, proofs, (words - Words.begin(offers)) / OFFER_BYTES);
                }
                (words, cursor) = (words + OFFER_BYTES, cursor + 32);
            }
            if (sharesBps > Words.BPS_WHOLE) revert SharesExceedWhole();
            uint256 depositWei = Sheet.depositWei();
            if (depositWei < wantedWei) revert DepositTooSmall(depositWei, wantedWei);
        }
    }

    /// An offer that is not simply published for anybody and any number of times.
    function _useRestricted(
        uint256 slot,
        bytes32 offerId,
        uint256 words,
        bytes[] calldata proofs,
        uint256 index
    ) private {
        uint256 revokedFrom = slot >> OFFER_REVOKED_SHIFT;
        if (revokedFrom != 0 && revokedFrom <= block.timestamp) revert OfferWithdrawn(offerId);
        if (uint40(slot >> OFFER_VALID_SHIFT) > block.timestamp) revert OfferNotYetValid(offerId);
        if (slot & OFFER_DISABLED != 0) revert OfferDisabled(offerId);
        bool known = slot & OFFER_KNOWN != 0;
        (uint256 runsMax, bytes32 root) = Sheet.limits();
        if (!known || root != 0) {
            if (proofs.length == 0) revert OfferNotAuthorized(offerId);
            _requireProof(Sheet.client(), words, root, offerId, known, proofs[index]);
        }
        if (runsMax != 0) {
            if (uint32(slot >> OFFER_RUNS_SHIFT) >= runsMax) revert OfferRunsExhausted(offerId);
            offerSlots[offerId] = (slot | OFFER_KNOWN) + OFFER_ONE_RUN;
        }
    }

    /// Says why an offer's terms refuse the order: the first reason of those that `Sheet.judge` found.
    function _refuse(uint256 refusal, bytes32 offerId) private pure {
        if (refusal & Sheet.TERMS_INVALID != 0) revert OfferTermsInvalid();
        if (refusal & Sheet.EXPIRED != 0) revert OfferExpired(offerId);
        if (refusal & Sheet.TOKEN_DIFFERS != 0) revert OfferTokenDiffers(offerId);
        if (refusal & Sheet.SECONDS_REFUSED != 0) revert OfferSecondsRefused(offerId);
        revert OfferPoolTooSmall(offerId);
    }

    function _requireProof(
        address client,
        uint256 words,
        bytes32 root,
        bytes32 offerId,
        bool known,
        bytes calldata proof
    ) private {
        (bytes memory signature, bytes32[] memory path) = abi.decode(proof, (bytes, bytes32[]));
        if (!known) {
            uint256[6] memory copy = Words.offerAt(words);
            if (!SignatureChecker.isValidSignatureNow(copy[0].upperAddress(), offerId, signature)) {
                revert OfferNotAuthorized(offerId);
            }
            emit OfferUsed(offerId, copy);
        }
        if (root != 0) {
            bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(client))));
            if (!MerkleProof.verify(path, root, leaf)) revert OfferAccountRefused(offerId);
        }
    }

    function _requireAssigned(bytes32 digest, uint256 assignment, bytes32[2] calldata signature)
        private
        view
        returns (address operator)
    {
        address node = assignment.upperAddress();
        uint256 current = fence;
        uint256 runner = runners[node];
        address leader = current.upperAddress();
        operator = runner.upperAddress();
        if (!Words.vouchFor(current, runner, assignment)) {
            // Either refused, with its reason, or a measurement was revoked and this one must be looked up.
            (leader, operator) = REGISTRY.authorize(node, uint48(assignment >> 48));
        }
        if (Signatures.recover(digest, signature) != leader) revert SignatureInvalid();
    }

    function _requireNode(bytes32 digest, uint256 assignment, bytes32[2] calldata signature) private view {
        if (Signatures.recover(digest, signature) != assignment.upperAddress()) revert SignatureInvalid();
    }

    function _settle(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        ReportWords calldata report,
        address node,
        address operator,
        uint256 slotsWei
    ) private {
        if (anchors[orderId] != Words.commitmentOf(head, payees)) revert EscrowMismatch(orderId);
        if (block.timestamp > head[3].deadline()) revert DeadlinePassed();
        uint256 result = report.result;
        uint256 outcome = result >> 64;
        if (outcome > CANCELLED) revert ReportInvalid();
        uint256 secondsUsed = _payableSeconds(head[2], head[3], uint32(result));
        anchors[orderId] = Words.anchor(orderId, report.reportDigest);
        _pay(head, payees, outcome, secondsUsed, operator, slotsWei);
        result = uint256(uint160(node)) << 96 | result >> 32 << 32 | secondsUsed;
        emit OrderSettled(orderId, report.reportDigest, report.outputDigest, result);
    }

    /// Attested seconds, but never more than the order allows or than passed since it was opened or started, up
    /// to its deadline.
    function _payableSeconds(uint256 prices, uint256 times, uint256 secondsUsed) private view returns (uint256) {
        unchecked {
            uint256 until = block.timestamp < times.deadline() ? block.timestamp : times.deadline();
            uint256 passed = until - times.openedAt();
            if (secondsUsed > passed) secondsUsed = passed;
        }
        return secondsUsed > prices.secondsMax() ? prices.secondsMax() : secondsUsed;
    }

    /// Ends the escrow: everybody's part, and the rest to the client, so that the parts add up to the deposit.
    function _pay(
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 outcome,
        uint256 secondsUsed,
        address operator,
        uint256 slotsWei
    ) private {
        uint256 paidWei = slotsWei + _payShares(head[1], head[2], payees, outcome, secondsUsed, operator);
        uint256 rest = head[0].lowerAmount() - head[3].lowerAmount() - paidWei;
        _credit(balances[head[1].upperAddress()], head[0].upperAddress(), rest);
    }

    /// Credits what is owed for the seconds that were not paid for yet and, unless they are only claimed, what
    /// is owed once for the outcome. Each amount is rounded down.
    /// @param pool   the order's token and pool
    /// @param prices of the order's compute
    function _payShares(
        uint256 pool,
        uint256 prices,
        uint256[] calldata payees,
        uint256 outcome,
        uint256 secondsUsed,
        address operator
    ) private returns (uint256 paidWei) {
        mapping(address => uint256) storage accounts = balances[pool.upperAddress()];
        // Amounts have 96 bits and seconds 32: no sum over OFFERS_MAX offers can overflow.
        unchecked {
            uint256 timed = _unpaidSeconds(prices, outcome, secondsUsed);
            uint256 at = Words.begin(payees);
            uint256 end = at + 32 * payees.length;
            for (; at < end; at += PAYEE_BYTES) {
                (uint256 payee, uint256 rates) = Words.pairAt(at);
                uint256 amount = rates.upperAmount() * timed;
                if (outcome == SUCCEEDED) {
                    amount += payee.lowerAmount() + pool.lowerAmount() * rates.shareBps() / Words.BPS_WHOLE;
                } else if (outcome != CLAIMED) {
                    amount += rates.middleAmount();
                }
                paidWei += amount;
                _credit(accounts, payee.upperAddress(), amount);
            }
            uint256 forCompute = prices.middleAmount() * timed;
            if (outcome == SUCCEEDED) forCompute += prices.upperAmount();
            paidWei += forCompute;
            _credit(accounts, operator, forCompute);
        }
    }

    function _unpaidSeconds(uint256 prices, uint256 outcome, uint256 secondsUsed) private pure returns (uint256) {
        unchecked {
            uint256 secondsPaid = prices.secondsPaid();
            return outcome == FAILED || secondsUsed < secondsPaid ? 0 : secondsUsed - secondsPaid;
        }
    }

    function _requireOpen(bytes32 orderId, uint256[4] memory words, uint256[] calldata payees) private view {
        if (anchors[orderId] != Words.commitment(words, payees)) revert EscrowMismatch(orderId);
    }

    function _requireOpenByClient(bytes32 orderId, uint256[4] memory words, uint256[] calldata payees) private view {
        _requireOpen(orderId, words, payees);
        if (msg.sender != words[0].upperAddress()) revert NotClient();
        if (block.timestamp > _endOf(words[2], words[3])) revert DeadlinePassed();
    }

    /// When an order may be refunded: after its deadline, and for a service that was paid by the second, unless
    /// the client is ending it, after a grace period in which it can be extended.
    function _endOf(uint256 prices, uint256 times) private pure returns (uint256) {
        bool graced = prices.secondsPaid() != 0 && times.state() & ENDING == 0;
        return times.deadline() + (graced ? GRACE_SECONDS : 0);
    }

    /// The leader assigned the node and one other node to each further slot of the order.
    function _requireSlots(
        bytes32 orderId,
        uint256 times,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[2] calldata leaderSignature
    ) private view returns (address operator) {
        if (times.slots() != more.length + 1) revert SlotsInvalid();
        address last;
        for (uint256 i; i < more.length; ++i) {
            address node = more[i].upperAddress();
            if (node <= last || node == assignment.upperAddress()) revert SlotsInvalid();
            last = node;
        }
        return _requireAssigned(_digest(_hashAssignment(orderId, assignment, more)), assignment, leaderSignature);
    }

    function _hashAssignment(bytes32 orderId, uint256 assignment, uint256[] calldata more)
        private
        pure
        returns (bytes32)
    {
        return more.length == 0
            ? Statements.hashAssignment(orderId, assignment)
            : Statements.hashSlotsAssignment(orderId, assignment, more);
    }

    /// Pays the operators of the further slots, each for its own seconds but no more than the order's. A node
    /// that may no longer run orders is paid nothing, and the others are paid all the same.
    function _paySlots(
        bytes32 orderId,
        uint256[4] memory words,
        uint256 assignment,
        uint256[] calldata more,
        uint256 outcome,
        uint256 most
    ) private returns (uint256 paidWei) {
        if (more.length == 0) return 0;
        address[] memory operators = new address[](more.length);
        uint256[] memory amounts = new uint256[](more.length);
        for (uint256 i; i < more.length; ++i) {
            operators[i] = _operatorOf(more[i].upperAddress(), assignment);
            if (operators[i] == address(0)) continue;
            uint256 used = uint32(more[i]);
            amounts[i] = words[2].middleAmount() * _unpaidSeconds(words[2], outcome, used < most ? used : most);
            if (outcome == SUCCEEDED) amounts[i] += words[2].upperAmount();
            paidWei += amounts[i];
            _credit(balances[words[1].upperAddress()], operators[i], amounts[i]);
        }
        emit OrderSlotsPaid(orderId, operators, amounts);
    }

    function _operatorOf(address node, uint256 assignment) private view returns (address) {
        uint256 runner = runners[node];
        if (Words.vouchFor(fence, runner, assignment)) return runner.upperAddress();
        try REGISTRY.authorize(node, uint48(assignment >> 48)) returns (address, address operator) {
            return operator;
        } catch {
            return address(0);
        }
    }

    /// The offer of six words: its id and who made it.
    function _offerOf(uint256[] calldata words) private view returns (bytes32 offerId, address owner) {
        if (words.length != Words.WORDS_PER_OFFER) revert WordsInvalid();
        return (_digest(Statements.hashOffer(words, 0)), words[0].upperAddress());
    }

    /// The id of an offer whose terms make sense.
    function _offerId(Offer calldata offer) private view returns (bytes32) {
        OfferTerms calldata terms = offer.terms;
        if (terms.bookingWei > terms.fixedWei || terms.shareBps > Words.BPS_WHOLE) revert OfferTermsInvalid();
        if (terms.secondsMax != 0 && terms.secondsMin > terms.secondsMax) revert OfferTermsInvalid();
        if (offer.kind > KIND_LAST) revert OfferTermsInvalid();
        bytes32 termsHash = keccak256(abi.encode(Statements.TERMS_TYPEHASH, terms));
        bytes32 content = Statements.hashContent(offer.content);
        return _digest(keccak256(abi.encode(Statements.OFFER_TYPEHASH, offer.owner, offer.kind, termsHash, content)));
    }

    function _requireOwner(address owner, bytes32 offerId, bytes32 digest, bytes calldata signature) private view {
        if (msg.sender != owner && !SignatureChecker.isValidSignatureNow(owner, digest, signature)) {
            revert OfferNotAuthorized(offerId);
        }
    }

    function _revoke(bytes32 offerId, address owner, uint64 fromTime) private returns (uint64 from) {
        uint256 slot = offerSlots[offerId];
        from = fromTime < block.timestamp ? uint64(block.timestamp) : fromTime;
        uint256 before = slot >> OFFER_REVOKED_SHIFT;
        if (before != 0 && before <= from) revert OfferWithdrawn(offerId);
        offerSlots[offerId] = slot & (1 << OFFER_REVOKED_SHIFT) - 1 | uint256(from) << OFFER_REVOKED_SHIFT;
        emit OfferRevoked(offerId, owner, from);
    }

    /// Uses a permit of the token (EIP-2612). One that fails may have been used by somebody else before: then the
    /// allowance is there, and otherwise the transfer fails.
    function _permit(address token, address owner, bytes calldata permit) private {
        if (permit.length == 0) return;
        (uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) =
            abi.decode(permit, (uint256, uint256, uint8, bytes32, bytes32));
        try IERC20Permit(token).permit(owner, address(this), value, deadline, v, r, s) {} catch {}
    }

    function _signerOf(bytes32 orderId, SignedReport calldata signed)
        private
        view
        returns (bytes32 hash, address signer)
    {
        hash = Statements.hashReport(orderId, signed.report);
        if (signed.more.length != 0) hash = Statements.hashSlotsReport(hash, signed.more);
        bytes32 subject = hash;
        if (signed.batch.length != 0) {
            subject = keccak256(abi.encode(Statements.REPORT_BATCH_TYPEHASH, _hashWith(signed.batch, hash)));
        }
        signer = Signatures.recover(_digest(subject), signed.signature);
    }

    /// Hashes the members of a batch, of which `member` must be one.
    function _hashWith(bytes32[] calldata batch, bytes32 member) private pure returns (bytes32) {
        bool found;
        for (uint256 i; i < batch.length; ++i) {
            if (batch[i] == member) found = true;
        }
        if (!found) revert EvidenceRejected();
        return keccak256(abi.encodePacked(batch));
    }

    /// Takes a deposit from what was sent, else from the balance here, else by the allowance.
    function _collect(address token, address account, uint256 amount) private {
        if (msg.value != 0) {
            if (token != address(0) || msg.value != amount) revert ValueMismatch();
            return;
        }
        if (amount == 0) return;
        if (token == address(0) || balances[token][account] >= amount) {
            _debit(token, account, amount);
            emit BalanceUsed(token, account, amount);
            return;
        }
        uint256 received = _pull(token, account, amount);
        if (received != amount) revert TransferShort(received, amount);
    }

    /// Guarded: a token that calls back while its transfer is measured would count one transfer twice.
    function _pull(address token, address from, uint256 amount) private nonReentrant returns (uint256 received) {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(from, address(this), amount);
        received = IERC20(token).balanceOf(address(this)) - before;
        if (received > amount) received = amount;
    }

    function _splitAddress(address[] memory accounts, uint16[] memory sharesBps) private view returns (address) {
        uint256 count = accounts.length;
        if (count != sharesBps.length || count == 0 || count > OFFERS_MAX + 1) revert SplitInvalid();
        uint256 total;
        for (uint256 i; i < count; ++i) {
            total += sharesBps[i];
        }
        if (total != Words.BPS_WHOLE) revert SplitInvalid();
        return address(uint160(uint256(keccak256(abi.encode(address(this), accounts, sharesBps)))));
    }

    function _channelId(Channel calldata channel) private view returns (bytes32) {
        return _digest(keccak256(abi.encode(Statements.CHANNEL_TYPEHASH, channel)));
    }

    function _credit(mapping(address => uint256) storage accounts, address account, uint256 amount) private {
        if (amount != 0) accounts[account] += amount;
    }

    function _debit(address token, address account, uint256 amount) private {
        uint256 balance = balances[token][account];
        if (balance < amount) revert BalanceTooLow(balance, amount);
        balances[token][account] = balance - amount;
    }
}
