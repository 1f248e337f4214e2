// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {EscrowWords} from "./libraries/EscrowWords.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Statements} from "./libraries/Statements.sol";
import {Typed} from "./libraries/Typed.sol";

contract Market is IMarket, Typed, ReentrancyGuardTransient {
    using EscrowWords for uint256[4];
    using SafeERC20 for IERC20;

    uint256 public constant OFFERS_MAX = 64;
    uint256 public constant DEADLINE_SECONDS_MAX = 3650 days;
    uint256 public constant CANCEL_SECONDS = 10 minutes;

    uint8 private constant SUCCEEDED = 0;
    uint8 private constant FAILED = 1;
    uint8 private constant CANCELLED = 2;

    bytes32 private constant REFUNDED = bytes32(uint256(1));
    bytes32 private constant FORFEITED = bytes32(uint256(2));

    uint8 private constant SLASH_DOUBLE_REPORT = 2;
    uint8 private constant SLASH_NO_REPORT = 3;

    /// One slot per offer that was published, used with a limit of runs, or revoked.
    struct OfferSlot {
        bool known;
        uint32 runs;
        uint64 revokedFrom;
    }

    mapping(bytes32 orderId => bytes32) private anchors;
    mapping(bytes32 offerId => OfferSlot) private offerSlots;
    mapping(address token => mapping(address account => uint256)) private balances;

    IRegistry private immutable REGISTRY;

    constructor(IRegistry registry_) Typed("Cloister Market") {
        if (registry_.market() != address(this)) revert NotOwner();
        REGISTRY = registry_;
    }

    /// @inheritdoc IMarket
    function publishOffer(Offer calldata offer, bytes calldata signature) external returns (bytes32 offerId) {
        _requireTerms(offer.terms);
        offerId = _digest(
            Statements.hashOffer(offer.owner, offer.kind, offer.terms, Statements.hashContent(offer.content))
        );
        if (msg.sender != offer.owner && !SignatureChecker.isValidSignatureNow(offer.owner, offerId, signature)) {
            revert OfferNotAuthorized(offerId);
        }
        offerSlots[offerId].known = true;
        emit OfferPublished(offerId, offer.owner, offer.kind, offer.terms, offer.content);
    }

    /// @inheritdoc IMarket
    function revokeOffer(address owner, uint8 kind, OfferTerms calldata terms, bytes32 content, uint64 fromTime)
        external
    {
        if (msg.sender != owner) revert NotOwner();
        bytes32 offerId = _digest(Statements.hashOffer(owner, kind, terms, content));
        OfferSlot storage slot = offerSlots[offerId];
        uint64 from = fromTime < block.timestamp ? uint64(block.timestamp) : fromTime;
        if (slot.revokedFrom != 0 && slot.revokedFrom <= from) revert OfferWithdrawn(offerId);
        slot.revokedFrom = from;
        emit OfferRevoked(offerId, owner, from);
    }

    /// @inheritdoc IMarket
    function open(Order calldata order, OfferUse[] calldata offers) external payable nonReentrant returns (bytes32 orderId) {
        if (msg.sender != order.client) revert NotClient();
        orderId = _open(order, offers);
        _collect(order.token, order.client, order.depositWei);
    }

    /// @inheritdoc IMarket
    function settle(
        Escrow calldata escrow,
        Assignment calldata assignment,
        bytes calldata leaderSignature,
        Report calldata report,
        bytes calldata nodeSignature
    ) external {
        if (assignment.orderId != report.orderId) revert NodeMismatch();
        (address leader, address operator) = REGISTRY.authorize(assignment.node, assignment.term);
        if (Signatures.recover(_digest(Statements.hashAssignment(assignment)), leaderSignature) != leader) {
            revert SignatureInvalid();
        }
        if (Signatures.recover(_digest(Statements.hashReport(report)), nodeSignature) != assignment.node) {
            revert SignatureInvalid();
        }
        _settle(escrow, report, assignment.node, operator);
    }

    /// @inheritdoc IMarket
    function extend(bytes32 orderId, Escrow calldata escrow, uint96 addWei, uint32 addSeconds, uint40 deadline)
        external
        payable
        nonReentrant
    {
        uint256[4] memory head = escrow.head;
        _requireOpen(orderId, escrow);
        if (msg.sender != head.client()) revert NotClient();
        if (block.timestamp > head.deadline()) revert DeadlinePassed();
        if (deadline < head.deadline()) revert DeadlineNotPassed(head.deadline());
        if (deadline > block.timestamp + DEADLINE_SECONDS_MAX) revert DeadlineTooFar();
        head[0] += addWei;
        if (head.client() != msg.sender) revert DepositTooSmall(type(uint96).max, addWei);
        uint256 total = head.secondsMax() + addSeconds;
        if (total > type(uint32).max) revert ReportInvalid();
        head[2] = head[2] & ~(uint256(type(uint32).max) << 32) | total << 32;
        head[3] = head[3] & type(uint216).max | uint256(deadline) << 216;
        uint256 wanted = _highestPrice(head, escrow.payees);
        if (head.depositWei() < wanted) revert DepositTooSmall(head.depositWei(), wanted);
        _change(orderId, head, escrow.payees);
        _collect(head.token(), msg.sender, addWei);
    }

    /// @inheritdoc IMarket
    function cancel(bytes32 orderId, Escrow calldata escrow) external {
        uint256[4] memory head = escrow.head;
        _requireOpen(orderId, escrow);
        if (msg.sender != head.client()) revert NotClient();
        uint256 deadline = block.timestamp + CANCEL_SECONDS;
        if (deadline >= head.deadline()) revert DeadlinePassed();
        head[3] = head[3] & type(uint216).max | deadline << 216;
        _change(orderId, head, escrow.payees);
    }

    /// @inheritdoc IMarket
    function refund(bytes32 orderId, Escrow calldata escrow) external {
        _requireOpen(orderId, escrow);
        uint256[4] memory head = escrow.head;
        if (block.timestamp <= head.deadline()) revert DeadlineNotPassed(head.deadline());
        anchors[orderId] = REFUNDED;
        _pay(head, escrow.payees, FAILED, 0, address(0));
        emit OrderRefunded(orderId);
    }

    /// @inheritdoc IMarket
    function forfeit(Assignment calldata assignment, bytes calldata leaderSignature) external {
        if (anchors[assignment.orderId] != REFUNDED) revert EvidenceRejected();
        address leader = REGISTRY.leaderOf(assignment.term);
        if (leader == address(0)) revert EvidenceRejected();
        if (Signatures.recover(_digest(Statements.hashAssignment(assignment)), leaderSignature) != leader) {
            revert SignatureInvalid();
        }
        anchors[assignment.orderId] = FORFEITED;
        emit OrderForfeited(assignment.orderId, assignment.node);
        REGISTRY.slash(assignment.node, SLASH_NO_REPORT);
    }

    /// @inheritdoc IMarket
    function proveDoubleReport(
        Report calldata reportA,
        bytes calldata signatureA,
        Report calldata reportB,
        bytes calldata signatureB
    ) external {
        bytes32 hashA = Statements.hashReport(reportA);
        bytes32 hashB = Statements.hashReport(reportB);
        address node = Signatures.recover(_digest(hashA), signatureA);
        if (
            hashA == hashB || reportA.orderId != reportB.orderId || node == address(0)
                || Signatures.recover(_digest(hashB), signatureB) != node
        ) revert EvidenceRejected();
        REGISTRY.slash(node, SLASH_DOUBLE_REPORT);
    }

    /// @inheritdoc IMarket
    function deposit(address token, address account, uint256 amount) external payable nonReentrant {
        uint256 received = amount;
        if (token == address(0)) {
            if (msg.value != amount) revert ValueMismatch();
        } else {
            if (msg.value != 0) revert ValueMismatch();
            received = _pull(token, msg.sender, amount);
        }
        _credit(token, account, received);
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
        if (accounts.length != sharesBps.length || accounts.length == 0 || accounts.length > OFFERS_MAX) {
            revert SplitInvalid();
        }
        uint256 total;
        for (uint256 i; i < sharesBps.length; ++i) {
            total += sharesBps[i];
        }
        if (total != EscrowWords.BPS_WHOLE) revert SplitInvalid();
        bytes32 hash = keccak256(abi.encode(address(this), accounts, sharesBps));
        return address(uint160(uint256(hash)));
    }

    /// @inheritdoc IMarket
    function distribute(address token, address[] calldata accounts, uint16[] calldata sharesBps) external {
        address split = splitAddress(accounts, sharesBps);
        uint256 amount = balances[token][split];
        uint256 paid;
        for (uint256 i; i < accounts.length; ++i) {
            uint256 shareDown = amount * sharesBps[i] / EscrowWords.BPS_WHOLE;
            paid += shareDown;
            _credit(token, accounts[i], shareDown);
        }
        // What rounding leaves stays with the split, for the next time.
        _debit(token, split, paid);
        emit SplitDistributed(token, split, paid, accounts, sharesBps);
    }

    function balanceOf(address token, address account) external view returns (uint256) {
        return balances[token][account];
    }

    function offerState(bytes32 offerId) external view returns (bool known, uint32 runs, uint64 revokedFrom) {
        OfferSlot storage slot = offerSlots[offerId];
        return (slot.known, slot.runs, slot.revokedFrom);
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

    function _open(Order calldata order, OfferUse[] calldata offers) private returns (bytes32 orderId) {
        uint256 count = offers.length;
        if (count == 0 || count > OFFERS_MAX || count != order.offers.length) revert OffersCount(count);
        if (order.deadline <= block.timestamp) revert DeadlinePassed();
        if (order.deadline > block.timestamp + DEADLINE_SECONDS_MAX) revert DeadlineTooFar();
        orderId = _digest(Statements.hashOrder(order));
        if (anchors[orderId] != 0) revert OrderExists(orderId);
        uint256[4] memory head = EscrowWords.packHead(order);
        uint256[] memory payees = new uint256[](2 * count);
        for (uint256 i; i < count; ++i) {
            _use(order, offers[i], i);
            (payees[2 * i], payees[2 * i + 1]) = EscrowWords.packPayee(offers[i].owner, offers[i].terms);
        }
        uint256 wanted = _highestPrice(head, payees);
        if (order.depositWei < wanted) revert DepositTooSmall(order.depositWei, wanted);
        anchors[orderId] = keccak256(abi.encodePacked(head, payees));
        emit OrderOpened(
            orderId,
            order.client,
            head,
            payees,
            order.offers,
            order.argsDigest,
            order.recipientDigest,
            order.goal,
            order.salt
        );
    }

    /// Checks all of one offer's consent that the chain can check, and counts the run.
    function _use(Order calldata order, OfferUse calldata offer, uint256 index) private {
        OfferTerms calldata terms = offer.terms;
        bytes32 offerId = _digest(Statements.hashOffer(offer.owner, offer.kind, terms, offer.content));
        if (order.offers[index] != offerId) revert OfferIdMismatch(index);
        OfferSlot memory slot = offerSlots[offerId];
        if (!slot.known) {
            _requireTerms(terms);
            if (!SignatureChecker.isValidSignatureNow(offer.owner, offerId, offer.signature)) {
                revert OfferNotAuthorized(offerId);
            }
        }
        if (slot.revokedFrom != 0 && slot.revokedFrom <= block.timestamp) revert OfferWithdrawn(offerId);
        if (terms.validUntil != 0 && terms.validUntil < block.timestamp) revert OfferExpired(offerId);
        if (terms.token != order.token) revert OfferTokenDiffers(offerId);
        if (order.secondsMax < terms.secondsMin || terms.secondsMax != 0 && order.secondsMax > terms.secondsMax) {
            revert OfferSecondsRefused(offerId);
        }
        if (terms.shareBps != 0 && order.poolWei < terms.poolMinWei) revert OfferPoolTooSmall(offerId);
        if (terms.accountsRoot != 0) {
            bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(order.client))));
            if (!MerkleProof.verifyCalldata(offer.accountProof, terms.accountsRoot, leaf)) {
                revert OfferAccountRefused(offerId);
            }
        }
        if (terms.runsMax != 0) {
            if (slot.runs >= terms.runsMax) revert OfferRunsExhausted(offerId);
            offerSlots[offerId] = OfferSlot({known: true, runs: slot.runs + 1, revokedFrom: slot.revokedFrom});
        }
    }

    function _highestPrice(uint256[4] memory head, uint256[] memory payees) private pure returns (uint256 price) {
        uint256 secondsMax = head.secondsMax();
        uint256 sharesBps;
        price = head.poolWei() + head.computeFixedWei() + head.computePerSecondWei() * secondsMax;
        for (uint256 i; i < payees.length; i += 2) {
            price += uint96(payees[i]) + (payees[i + 1] >> 160) * secondsMax;
            sharesBps += uint16(payees[i + 1] >> 48);
        }
        if (sharesBps > EscrowWords.BPS_WHOLE) revert SharesExceedWhole();
    }

    function _settle(Escrow calldata escrow, Report calldata report, address node, address operator) private {
        _requireOpen(report.orderId, escrow);
        uint256[4] memory head = escrow.head;
        if (block.timestamp > head.deadline()) revert DeadlinePassed();
        if (report.outcome > CANCELLED) revert ReportInvalid();
        uint256 secondsUsed = _payableSeconds(head, report.secondsUsed);
        anchors[report.orderId] = keccak256(abi.encode(report.orderId, report.reportDigest));
        _pay(head, escrow.payees, report.outcome, secondsUsed, operator);
        uint256 result = uint256(report.outcome) << 64 | uint256(report.exitCode) << 32 | secondsUsed;
        emit OrderSettled(report.orderId, node, operator, report.reportDigest, report.outputDigest, result);
    }

    /// Attested seconds, but never more than the order allows or than passed since it was opened.
    function _payableSeconds(uint256[4] memory head, uint256 secondsUsed) private view returns (uint256) {
        uint256 passed = block.timestamp - head.openedAt();
        if (secondsUsed > passed) secondsUsed = passed;
        return secondsUsed > head.secondsMax() ? head.secondsMax() : secondsUsed;
    }

    /// Splits the deposit. Each amount is rounded down and what remains goes back to the client,
    /// so that the parts add up to the deposit, to the unit.
    function _pay(
        uint256[4] memory head,
        uint256[] calldata payees,
        uint8 outcome,
        uint256 secondsUsed,
        address operator
    ) private {
        mapping(address => uint256) storage accounts = balances[head.token()];
        uint256 rest = head.depositWei();
        uint256 timed = outcome == FAILED ? 0 : secondsUsed;
        for (uint256 i; i < payees.length; i += 2) {
            uint256 first = payees[i];
            uint256 rates = payees[i + 1];
            uint256 amount = (rates >> 160) * timed;
            amount += outcome == SUCCEEDED
                ? uint96(first) + head.poolWei() * uint16(rates >> 48) / EscrowWords.BPS_WHOLE
                : uint96(rates >> 64);
            rest -= amount;
            if (amount != 0) accounts[address(uint160(first >> 96))] += amount;
        }
        uint256 forCompute = head.computePerSecondWei() * timed;
        if (outcome == SUCCEEDED) forCompute += head.computeFixedWei();
        rest -= forCompute;
        if (forCompute != 0) accounts[operator] += forCompute;
        if (rest != 0) accounts[head.client()] += rest;
    }

    function _requireOpen(bytes32 orderId, Escrow calldata escrow) private view {
        if (anchors[orderId] != EscrowWords.commitment(escrow)) revert EscrowMismatch(orderId);
    }

    function _change(bytes32 orderId, uint256[4] memory head, uint256[] calldata payees) private {
        anchors[orderId] = keccak256(abi.encodePacked(head, payees));
        emit OrderChanged(orderId, head);
    }

    function _requireTerms(OfferTerms calldata terms) private pure {
        if (terms.bookingWei > terms.fixedWei || terms.shareBps > EscrowWords.BPS_WHOLE) revert OfferTermsInvalid();
        if (terms.secondsMax != 0 && terms.secondsMin > terms.secondsMax) revert OfferTermsInvalid();
    }

    /// Takes a deposit from what was sent, else from the balance here, else by the allowance.
    function _collect(address token, address account, uint256 amount) private {
        if (msg.value != 0) {
            if (token != address(0) || msg.value != amount) revert ValueMismatch();
            return;
        }
        if (token == address(0) || balances[token][account] >= amount) {
            _debit(token, account, amount);
            emit BalanceUsed(token, account, amount);
            return;
        }
        uint256 received = _pull(token, account, amount);
        if (received != amount) revert TransferShort(received, amount);
    }

    function _pull(address token, address from, uint256 amount) private returns (uint256 received) {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(from, address(this), amount);
        received = IERC20(token).balanceOf(address(this)) - before;
        if (received > amount) received = amount;
    }

    function _credit(address token, address account, uint256 amount) private {
        if (amount != 0) balances[token][account] += amount;
    }

    function _debit(address token, address account, uint256 amount) private {
        uint256 balance = balances[token][account];
        if (balance < amount) revert BalanceTooLow(balance, amount);
        balances[token][account] = balance - amount;
    }
}
