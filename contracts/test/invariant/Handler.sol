// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {PermitToken} from "../market/OpenFor.t.sol";
import {SwarmHandler} from "./SwarmHandler.sol";

/// @notice Does everything that anybody can do, in any sequence, and keeps its own books of it.
contract Handler is SwarmHandler {
    struct Entry {
        Draft draft;
        bool open;
        bytes32 anchor;
        uint32 secondsPaid;
    }

    Entry[] private entries;
    Entry private none;
    uint256[] private offers;
    IMarket.Channel[] private channels;
    uint256 public doubleEndings;
    uint256 public channelWei;
    uint256 public staleEffects;
    uint256 public withoutConsent;
    uint256 public earlyRefunds;
    uint256 public strangersOrders;
    uint256 private constant RUNS_MAX = 12;
    uint32 private constant SECONDS_MAX = 20_000;
    uint256 private constant LIMITED = 0x11417ED;
    uint256 private limitedRuns;
    Draft[] private slotOrders;
    PermitToken public token = new PermitToken();

    constructor() {
        setUp();
        vm.deal(address(this), 1_000_000 ether);
        IMarket.Offer memory offer = _offer(STATION, 1000);
        (offer.terms.perSecondWei, offer.terms.bookingWei, offer.terms.shareBps) = (7, 100, 2500);
        offer.terms.secondsMax = SECONDS_MAX;
        offers = _publish(offer);
    }

    function open(uint96 spare, bool fromBalance) external {
        Draft memory draft = _drafted(offers, spare);
        if (limitedRuns < RUNS_MAX) {
            draft = _drafted(_join(offers, limitedRuns == 0 ? _publish(_limited()) : _words(_limited())), spare);
            ++limitedRuns;
        } else {
            _openBeyondConsent(spare);
        }
        uint256 depositWei = uint96(draft.head[0]);
        if (fromBalance) {
            market.deposit{value: depositWei}(address(0), client, depositWei);
            ++reached[market.deposit.selector];
        }
        vm.prank(client);
        draft.id = market.open{value: fromBalance ? 0 : depositWei}(
            draft.head, draft.digests, draft.offers, new bytes[](0)
        );
        draft.head[3] |= block.timestamp << 176;
        escrowWei += depositWei;
        ++reached[market.open.selector];
        entries.push(Entry(draft, true, 0, 0));
    }

    function settle(uint256 which, uint8 outcome, uint32 secondsUsed) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found || block.timestamp > entry.draft.head[3] >> 216) return;
        uint256 left = _left(entry);
        _settleBy(entry.draft, _report(outcome % 3, secondsUsed), leader, NODE_B, term);
        _end(entry, left, _settled(entry));
        ++reached[market.settle.selector];
    }

    function settleBatch(uint256 which) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found || block.timestamp > entry.draft.head[3] >> 216) return;
        IMarket.Settlement[] memory items = new IMarket.Settlement[](1);
        items[0] = IMarket.Settlement(entry.draft.id, entry.draft.head, entry.draft.payees, _report(0, 30));
        bytes32 reportHash = keccak256(abi.encodePacked(_reportHash(entry.draft.id, items[0].report)));
        bytes32 reports = keccak256(
            abi.encode(
                keccak256(
                    "ReportBatch(Report[] reports)Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
                ),
                reportHash
            )
        );
        bytes32 assigned = keccak256(
            abi.encode(
                keccak256("AssignmentBatch(bytes32[] orderIds,address node,uint64 term,uint64 epoch)"),
                keccak256(abi.encodePacked(entry.draft.id)),
                vm.addr(NODE_B),
                uint64(term),
                uint64(1)
            )
        );
        uint256 left = _left(entry);
        market.settleBatch(
            items,
            _assignment(NODE_B, term),
            _sign(leader, _marketDigest(assigned)),
            _sign(NODE_B, _marketDigest(reports))
        );
        _end(entry, left, _settled(entry));
        ++reached[market.settleBatch.selector];
    }

    function settleAgain(uint256 which, uint8 outcome) external {
        if (entries.length == 0) return;
        Entry storage entry = entries[which % entries.length];
        if (entry.open) return;
        IMarket.ReportWords memory report = _report(outcome % 3, 1);
        bytes32[2] memory leaderSignature = _sign(leader, _assignmentDigest(entry.draft.id, NODE_B, term));
        bytes32[2] memory nodeSignature = _sign(NODE_B, _marketDigest(_reportHash(entry.draft.id, report)));
        try market.settle(
            entry.draft.id,
            entry.draft.head,
            entry.draft.payees,
            _assignment(NODE_B, term),
            leaderSignature,
            report,
            nodeSignature
        ) {
            ++doubleEndings;
        } catch {}
    }

    function settleWithStaleTerm(uint256 which) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found || term == 1) return;
        IMarket.ReportWords memory report = _report(0, 1);
        bytes32[2] memory leaderSignature = _sign(leader, _assignmentDigest(entry.draft.id, NODE_B, term - 1));
        bytes32[2] memory nodeSignature = _sign(NODE_B, _marketDigest(_reportHash(entry.draft.id, report)));
        try market.settle(
            entry.draft.id,
            entry.draft.head,
            entry.draft.payees,
            _assignment(NODE_B, term - 1),
            leaderSignature,
            report,
            nodeSignature
        ) {
            ++staleEffects;
        } catch {}
    }

    function claim(uint256 which, uint32 secondsUsed) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found || block.timestamp > entry.draft.head[3] >> 216) return;
        uint32 paid = entry.secondsPaid;
        uint256 passed = block.timestamp - uint40(entry.draft.head[3] >> 176);
        uint256 secondsMax = uint32(entry.draft.head[2] >> 32);
        uint256 most = passed < secondsMax ? passed : secondsMax;
        if (most <= paid) return;
        uint32 target = uint32(bound(secondsUsed, paid + 1, most));
        bytes32 typehash = keccak256("Heartbeat(bytes32 orderId,uint32 secondsUsed)");
        bytes32 digest = _marketDigest(keccak256(abi.encode(typehash, entry.draft.id, target)));
        market.claim(
            entry.draft.id,
            entry.draft.head,
            entry.draft.payees,
            _assignment(NODE_B, term),
            _none(),
            _sign(leader, _assignmentDigest(entry.draft.id, NODE_B, term)),
            target,
            _sign(NODE_B, digest)
        );
        uint256 amount = uint256(target - paid) * 12;
        entry.draft.head[2] += target - paid;
        entry.draft.head[3] += amount;
        entry.secondsPaid = target;
        escrowWei -= amount;
        ++reached[market.claim.selector];
    }

    function extend(uint256 which, uint16 more) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found || block.timestamp > entry.draft.head[3] >> 216) return;
        uint16 allowed = uint16(SECONDS_MAX - uint32(entry.draft.head[2] >> 32));
        if (more > allowed) {
            try this.extendBy(entry.draft, more) {
                ++withoutConsent;
            } catch {}
            more = allowed;
        }
        (uint96 addWei, uint40 deadline) = this.extendBy(entry.draft, more);
        entry.draft.head[0] += addWei;
        entry.draft.head[2] += uint256(more) << 32;
        entry.draft.head[3] = entry.draft.head[3] & type(uint216).max | uint256(deadline) << 216;
        escrowWei += addWei;
        ++reached[market.extend.selector];
    }

    function extendBy(Draft calldata draft, uint16 more) external returns (uint96 addWei, uint40 deadline) {
        addWei = 12 * uint96(more);
        deadline = uint40((draft.head[3] >> 216) + more);
        vm.prank(client);
        market.extend{value: addWei}(draft.id, draft.head, draft.payees, addWei, more, deadline);
    }

    function cancel(uint256 which) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found || block.timestamp + 10 minutes >= entry.draft.head[3] >> 216) return;
        vm.prank(client);
        market.cancel(entry.draft.id, entry.draft.head, entry.draft.payees);
        uint256 deadline = block.timestamp + 10 minutes;
        entry.draft.head[3] = entry.draft.head[3] & type(uint216).max | deadline << 216 | 2 << 96;
        ++reached[market.cancel.selector];
    }

    function refund(uint256 which) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found) return;
        bool graced = entry.secondsPaid != 0 && entry.draft.head[3] & 2 << 96 == 0;
        uint256 end = (entry.draft.head[3] >> 216) + (graced ? 1 days : 0);
        if (block.timestamp <= end) vm.warp(end + 1);
        uint256 left = _left(entry);
        market.refund(entry.draft.id, entry.draft.head, entry.draft.payees);
        _end(entry, left, bytes32(uint256(1)));
        ++reached[market.refund.selector];
        if (which % 3 == 0) _forfeit(entry);
    }

    /// Whoever refunds an order before its end.
    function refundEarly(uint256 which) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found) return;
        bool graced = entry.secondsPaid != 0 && entry.draft.head[3] & 2 << 96 == 0;
        if (block.timestamp > (entry.draft.head[3] >> 216) + (graced ? 1 days : 0)) return;
        try market.refund(entry.draft.id, entry.draft.head, entry.draft.payees) {
            ++earlyRefunds;
        } catch {}
    }

    /// Whoever opens an order at somebody else's expense: with no signature, a stranger's, and the client's own
    /// over an order that is there already.
    function openAsStranger(uint96 spare, uint8 how) external {
        Draft memory draft = _drafted(offers, spare);
        uint96 depositWei = uint96(draft.head[0]);
        market.deposit{value: 2 * uint256(depositWei)}(address(0), client, 2 * uint256(depositWei));
        bytes memory signature = how % 3 == 0 ? bytes("") : _sign65(how % 3 == 1 ? STRANGER : CLIENT, _orderId(draft));
        if (how % 3 == 2) {
            draft.id = market.openFor(draft.head, draft.digests, draft.offers, new bytes[](0), signature, "");
            escrowWei += depositWei;
        }
        try market.openFor(draft.head, draft.digests, draft.offers, new bytes[](0), signature, "") {
            ++strangersOrders;
        } catch {}
        if (how % 3 != 2) return;
        draft.head[3] |= block.timestamp << 176;
        entries.push(Entry(draft, true, 0, 0));
    }

    function withdraw(uint256 who, uint256 amount) external {
        address account = [client, operator, vm.addr(STATION), vm.addr(LIMITED)][who % 4];
        uint256 balance = market.balanceOf(address(0), account);
        vm.prank(account);
        market.withdraw(address(0), account, bound(amount, 0, balance));
        ++reached[market.withdraw.selector];
    }

    function fundChannel(uint96 amount) external {
        amount = amount % 1e18;
        IMarket.Channel memory channel =
            IMarket.Channel(client, address(0), vm.addr(STATION), uint40(block.timestamp + 1 days), uint64(salt));
        vm.prank(client);
        market.fundChannel{value: amount}(channel, amount);
        channels.push(channel);
        channelWei += amount;
        ++reached[market.fundChannel.selector];
    }

    function claimVoucher(uint256 which, uint96 amount) external {
        if (channels.length == 0) return;
        IMarket.Channel memory channel = channels[which % channels.length];
        bytes32 id = _channelId(channel);
        (uint96 depositWei, uint96 claimedWei, bool isOpen) = market.channelState(id);
        if (!isOpen || depositWei == claimedWei) return;
        uint96 cumulative = uint96(bound(amount, claimedWei + 1, depositWei));
        bytes32 typehash = keccak256("Voucher(bytes32 channelId,uint96 cumulativeWei)");
        bytes32 digest = _marketDigest(keccak256(abi.encode(typehash, id, cumulative)));
        market.claimVoucher(channel, cumulative, _sign(CLIENT, digest));
        channelWei -= cumulative - claimedWei;
        ++reached[market.claimVoucher.selector];
    }

    function closeChannel(uint256 which) external {
        if (channels.length == 0) return;
        IMarket.Channel memory channel = channels[which % channels.length];
        (uint96 depositWei, uint96 claimedWei, bool isOpen) = market.channelState(_channelId(channel));
        if (!isOpen) return;
        if (block.timestamp < channel.expiry) vm.warp(channel.expiry);
        market.closeChannel(channel);
        channelWei -= depositWei - claimedWei;
        ++reached[market.closeChannel.selector];
    }

    /// An order with three slots, opened by somebody else from the client's balance.
    function openFor(uint96 spare) external {
        Draft memory draft = _drafted(offers, spare);
        uint96 depositWei = 6_000 + spare % 1000;
        draft.head[0] = draft.head[0] >> 96 << 96 | depositWei;
        draft.head[3] += 2 << 104;
        market.deposit{value: depositWei}(address(0), client, depositWei);
        bytes memory signature = _sign65(CLIENT, _orderId(draft));
        draft.id = market.openFor(draft.head, draft.digests, draft.offers, new bytes[](0), signature, "");
        draft.head[3] |= block.timestamp << 176;
        escrowWei += depositWei;
        slotOrders.push(draft);
        ++reached[market.openFor.selector];
    }

    function settleSlots(uint8 outcome, uint32 a, uint32 b) external {
        if (slotOrders.length == 0) return;
        Draft memory draft = slotOrders[slotOrders.length - 1];
        slotOrders.pop();
        if (block.timestamp > draft.head[3] >> 216) {
            market.refund(draft.id, draft.head, draft.payees);
        } else {
            _settleSlots(draft, _report(outcome % 3, a), _more(NODE_A, a, NODE_C, b));
            ++reached[market.settleSlots.selector];
        }
        escrowWei -= uint96(draft.head[0]);
    }

    function start(uint256 which) external {
        (bool found, Entry storage entry) = _pick(which);
        if (!found || block.timestamp > entry.draft.head[3] >> 216) return;
        if (entry.secondsPaid != 0 || entry.draft.head[3] & 1 << 96 != 0) return;
        market.start(
            entry.draft.id,
            entry.draft.head,
            entry.draft.payees,
            _assignment(NODE_B, term),
            _none(),
            _sign(leader, _assignmentDigest(entry.draft.id, NODE_B, term)),
            _sign(NODE_B, _startDigest(entry.draft.id))
        );
        uint256 cleared = entry.draft.head[3] & ~(uint256(type(uint40).max) << 176);
        entry.draft.head[3] = cleared | block.timestamp << 176 | 1 << 96;
        ++reached[market.start.selector];
    }

    /// A life of an offer: published, disabled, enabled, replaced and revoked.
    function changeConsent(uint64 wait) external {
        IMarket.Offer memory offer = _offer(STATION, 77);
        offer.content.salt = bytes32(uint256(++salt));
        uint256[] memory words = _publish(offer);
        ++reached[market.publishOffer.selector];
        vm.prank(offer.owner);
        market.enableOffer(words, false);
        vm.prank(offer.owner);
        market.enableOffer(words, true);
        ++reached[market.enableOffer.selector];
        offer.content.salt = bytes32(uint256(++salt));
        vm.prank(offer.owner);
        market.changeOffer(words, offer, uint64(block.timestamp + wait % 1000), "");
        ++reached[market.changeOffer.selector];
        // Never on both: the one whose time it is not.
        _openWithoutConsent(wait % 1000 == 0 ? words : _words(offer));
        vm.prank(offer.owner);
        market.revokeOffer(_words(offer), 0, "");
        ++reached[market.revokeOffer.selector];
        _openWithoutConsent(_words(offer));
    }

    function _openWithoutConsent(uint256[] memory words) private {
        Draft memory draft = _draft(words, 77);
        vm.prank(client);
        try market.open{value: 77}(draft.head, draft.digests, draft.offers, new bytes[](0)) {
            ++withoutConsent;
        } catch {}
    }

    function depositWithPermit(uint96 amount) external {
        token.mint(client, amount);
        uint256 deadline = block.timestamp;
        bytes32 hash = token.permitHash(client, address(market), amount, token.nonces(client), deadline);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(CLIENT, hash);
        vm.prank(client);
        market.depositWithPermit(address(token), client, amount, abi.encode(uint256(amount), deadline, v, r, s));
        ++reached[market.depositWithPermit.selector];
    }

    function distribute(uint96 amount) external {
        amount %= 1 ether;
        (address[] memory accounts, uint16[] memory shares) = _split();
        market.deposit{value: amount}(address(0), market.splitAddress(accounts, shares), amount);
        market.distribute(address(0), accounts, shares);
        ++reached[market.distribute.selector];
    }

    /// A node of its own is revoked, then an order is opened, then the node reports on it.
    function reportAfterRevocation() external {
        uint256 key = _disposable(2);
        _revoke(key);
        vm.warp(block.timestamp + 10 minutes + 1);
        Draft memory draft = _drafted(offers, 0);
        vm.prank(client);
        draft.id = market.open{value: uint96(draft.head[0])}(
            draft.head, draft.digests, draft.offers, new bytes[](0)
        );
        draft.head[3] |= block.timestamp << 176;
        escrowWei += uint96(draft.head[0]);
        entries.push(Entry(draft, true, 0, 0));
        market.proveRevokedReport(draft.id, draft.head, draft.payees, _signedReport(key, draft.id, 1));
        ++reached[market.proveRevokedReport.selector];
    }

    function reportTwice(bytes32 orderId) external {
        uint256 key = _disposable(2);
        market.proveDoubleReport(orderId, _signedReport(key, orderId, 1), _signedReport(key, orderId, 2));
        ++reached[market.proveDoubleReport.selector];
    }

    function warp(uint16 passed) external {
        vm.warp(block.timestamp + passed % 600);
    }

    /// I-3, I-6 and I-18, of every order.
    function judgeOrders() external view {
        for (uint256 i; i < entries.length; ++i) {
            Entry storage entry = entries[i];
            if (entry.open) _judgeOpen(entry.draft, entry.secondsPaid);
            else require(market.anchorOf(entry.draft.id) == entry.anchor, "I-3: an order left its final state");
        }
    }

    function parties() external view returns (address[5] memory) {
        (address[] memory accounts, uint16[] memory shares) = _split();
        address split = market.splitAddress(accounts, shares);
        return [client, operator, vm.addr(STATION), vm.addr(LIMITED), split];
    }

    function contracts() external view returns (address, address, address) {
        return (address(market), address(registry), address(transparencyLog));
    }

    function orders() external view returns (uint256) {
        return entries.length;
    }

    function limited() external view returns (uint256 counted, uint256 most) {
        return (limitedRuns, RUNS_MAX);
    }

    function _settleSlots(Draft memory draft, IMarket.ReportWords memory report, uint256[] memory more) private {
        market.settleSlots(
            draft.id,
            draft.head,
            draft.payees,
            _assignment(NODE_B, term),
            more,
            _sign(leader, _slotsAssignmentDigest(draft.id, NODE_B, more, term)),
            report,
            _sign(NODE_B, _marketDigest(_slotsReportHash(draft.id, report, more)))
        );
    }

    function _signedReport(uint256 key, bytes32 orderId, uint32 used)
        private
        view
        returns (IMarket.SignedReport memory signed)
    {
        signed.report = _report(0, used);
        signed.signature = _sign(key, _marketDigest(_reportHash(orderId, signed.report)));
    }

    function _split() private view returns (address[] memory accounts, uint16[] memory shares) {
        (accounts, shares) = (new address[](2), new uint16[](2));
        (accounts[0], accounts[1], shares[0], shares[1]) = (client, operator, 3333, 6667);
    }

    function _drafted(uint256[] memory words, uint96 spare) private returns (Draft memory draft) {
        draft = _draft(words, uint96(3_000 + 20 * 60 + spare % 1000));
        draft.head[1] = 900;
        draft.head[2] |= uint256(500) << 160 | uint256(5) << 64;
        draft.head[3] = draft.head[3] & ~(uint256(type(uint64).max) << 112) | uint256(++salt) << 112;
    }

    function _limited() private view returns (IMarket.Offer memory offer) {
        offer = _offer(LIMITED, 300);
        offer.terms.runsMax = uint32(RUNS_MAX);
    }

    /// The run after the last one that the owner allowed.
    function _openBeyondConsent(uint96 spare) private {
        Draft memory draft = _drafted(_words(_limited()), spare);
        vm.prank(client);
        try market.open{value: uint96(draft.head[0])}(
            draft.head, draft.digests, draft.offers, new bytes[](0)
        ) {
            ++limitedRuns;
        } catch {}
    }

    /// Takes the node's stake for a refund, then tops it up so that the run goes on.
    function _forfeit(Entry storage entry) private {
        bytes32[2] memory signature = _sign(leader, _assignmentDigest(entry.draft.id, NODE_C, term));
        market.forfeit(entry.draft.id, _assignment(NODE_C, term), _none(), new bytes32[](0), signature);
        entry.anchor = bytes32(uint256(2));
        ++reached[market.forfeit.selector];
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_C);
        (certificate.issuedAt, certificate.notAfter) = (++issuedAt, uint64(block.timestamp + 3650 days));
        _register(certificate, FORFEIT);
        if (leader == NODE_C) _startTerm(++term, leader = NODE_A);
    }

    function _pick(uint256 which) private view returns (bool, Entry storage entry) {
        if (entries.length == 0) return (false, none);
        for (uint256 i; i < entries.length && i < 8; ++i) {
            entry = entries[(which % entries.length + i) % entries.length];
            if (entry.open) return (true, entry);
        }
        return (false, none);
    }

    function _left(Entry storage entry) private view returns (uint256) {
        return uint96(entry.draft.head[0]) - uint96(entry.draft.head[3]);
    }

    function _end(Entry storage entry, uint256 left, bytes32 anchor_) private {
        if (!entry.open) ++doubleEndings;
        (entry.open, entry.anchor) = (false, anchor_);
        escrowWei -= left;
    }

    function _settled(Entry storage entry) private view returns (bytes32) {
        return keccak256(abi.encode(entry.draft.id, keccak256("report")));
    }

    /// I-3: an open order's slot commits to its words. I-6: what is left covers all that it can still cost.
    /// I-18: no more seconds are paid than passed, nor than it has.
    function _judgeOpen(Draft memory draft, uint32 secondsPaid) private view {
        bytes32 committed = keccak256(abi.encodePacked(draft.head, draft.payees));
        require(market.anchorOf(draft.id) == committed, "I-3: an open order's slot is not its commitment");
        uint256 secondsMax = uint32(draft.head[2] >> 32);
        uint256 unpaid = secondsMax - secondsPaid;
        uint256 mostWei = uint96(draft.head[1])
            + uint8(draft.head[3] >> 104) * ((draft.head[2] >> 160) + uint96(draft.head[2] >> 64) * unpaid);
        for (uint256 i; i < draft.payees.length; i += 2) {
            mostWei += uint96(draft.payees[i]) + (draft.payees[i + 1] >> 160) * unpaid;
        }
        require(uint96(draft.head[0]) - uint96(draft.head[3]) >= mostWei, "I-6: an escrow can fall short");
        uint256 deadline = draft.head[3] >> 216;
        uint256 passed =
            (block.timestamp < deadline ? block.timestamp : deadline) - uint40(draft.head[3] >> 176);
        require(secondsPaid <= passed, "I-18: seconds were paid that did not pass");
    }

    function _channelId(IMarket.Channel memory channel) private view returns (bytes32) {
        bytes32 typehash =
            keccak256("Channel(address consumer,address token,address payee,uint40 expiry,uint64 salt)");
        return _marketDigest(keccak256(abi.encode(typehash, channel)));
    }

    receive() external payable {}
}
