// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {World} from "../helpers/World.sol";

/// @notice claim, extend, cancel, refund, forfeit and double reports.
contract LifecycleTest is World {
    function test_claimsPayTheSecondsSinceTheLast() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        _claim(draft, 10);
        assertEq(_balance(STATION), 30);
        vm.warp(START + 25);
        _claim(draft, 25);
        assertEq(_balance(STATION), 75);
        _settle(draft, 0, 25);
        assertEq(_balance(STATION), 175);
        assertEq(_balance(STATION) + _clientBalance(), 1000);
    }

    function test_aClaimMustBeNewer() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        _claim(draft, 10);
        vm.expectRevert(IMarket.ReportInvalid.selector);
        this.claim(draft, 10);
        vm.expectRevert(IMarket.ReportInvalid.selector);
        this.claim(draft, 40);
    }

    function test_aClaimNeedsTheNodesSignature() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        bytes32[2] memory forged = _sign(NODE_C, _heartbeatDigest(draft.id, 10));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.claim(draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), _none(), leaderSignature, 10, forged);
    }

    function test_whatWasClaimedIsNotRefunded() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        _claim(draft, 10);
        vm.warp(START + 2 days + 1);
        vm.expectRevert(IMarket.DeadlinePassed.selector);
        this.claim(draft, 20);
        market.refund(draft.id, draft.head, draft.payees);
        assertEq(_balance(STATION) + _clientBalance(), 1000);
        assertEq(_balance(STATION), 30);
    }

    function test_revokingTheMeasurementStopsAccrual() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        _claim(draft, 10);
        _decide(_decision(2, MEASUREMENT, 0));
        vm.warp(START + 20);
        vm.expectRevert(IRegistry.LeaderVoid.selector);
        this.claim(draft, 20);
        bytes32 other = keccak256("other software");
        _decide(_decision(1, other, 0));
        vm.warp(START + 20 + DELAY);
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_A);
        (certificate.measurement, certificate.issuedAt) = (other, 2);
        _register(certificate, 0);
        certificate = _certificate(STRANGER);
        certificate.measurement = other;
        _register(certificate, STAKE);
        registry.prune(vm.addr(NODE_B));
        registry.prune(vm.addr(NODE_C));
        _startTermBy(2, NODE_A);
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 2));
        bytes32[2] memory heartbeat = _sign(NODE_B, _heartbeatDigest(draft.id, 20));
        vm.expectPartialRevert(IRegistry.NodeNotActive.selector);
        market.claim(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 2), _none(), leaderSignature, 20, heartbeat
        );
        assertEq(_balance(STATION), 30);
    }

    function test_revokingTheNodeStopsAccrualAndKeepsWhatWasPaid() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        _claim(draft, 10);
        bytes[] memory signatures = new bytes[](1);
        bytes32 typehash = keccak256("NodeRevocation(address node)");
        signatures[0] = _sign65(AUTHORITY, _registryDigest(keccak256(abi.encode(typehash, vm.addr(NODE_B)))));
        registry.revokeNode(vm.addr(NODE_B), signatures);
        vm.warp(START + 20);
        vm.expectPartialRevert(IRegistry.NodeNotActive.selector);
        this.claim(draft, 20);
        vm.warp(START + 2 days + 1);
        market.refund(draft.id, draft.head, draft.payees);
        assertEq(_balance(STATION), 30);
        assertEq(_balance(STATION) + _clientBalance(), 1000);
    }

    function test_extendsDepositSecondsAndDeadline() public {
        Draft memory draft = _service();
        uint40 deadline = uint40(START + 9 days);
        vm.prank(client);
        market.extend{value: 500}(draft.id, draft.head, draft.payees, 500, 100, deadline);
        draft.head[0] += 500;
        draft.head[2] = draft.head[2] + (uint256(100) << 32);
        draft.head[3] = draft.head[3] & type(uint216).max | uint256(deadline) << 216;
        assertEq(market.anchorOf(draft.id), keccak256(abi.encodePacked(draft.head, draft.payees)));
        vm.warp(START + 8 days);
        _settle(draft, 0, 160);
        assertEq(_balance(STATION), 100 + 3 * 160);
        assertEq(_balance(STATION) + _clientBalance(), 1500);
    }

    function test_extendRefusesStrangersShortDepositsAndEarlierDeadlines() public {
        Draft memory draft = _service();
        uint40 deadline = uint40(START + 9 days);
        vm.expectRevert(IMarket.NotClient.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 0, deadline);
        vm.prank(client);
        vm.expectPartialRevert(IMarket.DepositTooSmall.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 1000, deadline);
        vm.prank(client);
        vm.expectPartialRevert(IMarket.DeadlineNotPassed.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 0, uint40(START));
        vm.prank(client);
        vm.expectRevert(IMarket.DeadlineTooFar.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 0, type(uint40).max);
        vm.prank(client);
        vm.expectRevert(IMarket.WordsInvalid.selector);
        market.extend(draft.id, draft.head, draft.payees, type(uint96).max, 0, deadline);
        vm.prank(client);
        vm.expectRevert(IMarket.WordsInvalid.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, type(uint32).max, deadline);
        vm.prank(client);
        vm.expectPartialRevert(IMarket.BalanceTooLow.selector);
        market.extend(draft.id, draft.head, draft.payees, 1, 0, deadline);
    }

    function test_nobodyExtendsBeyondTheLongestTimeOfAnOffer() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        (offer.terms.perSecondWei, offer.terms.secondsMax) = (3, 90);
        IMarket.Offer memory longer = _offer(ENGINEER, 100);
        longer.terms.secondsMax = 3600;
        Draft memory draft = _draft(_join(_publish(longer), _publish(offer)), 1000);
        _open(draft);
        assertEq(market.anchorOf(draft.id), keccak256(abi.encodePacked(draft.head, draft.payees)));
        uint40 deadline = uint40(START + 1 days);
        vm.prank(client);
        vm.expectPartialRevert(IMarket.SecondsRefused.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 31, deadline);
        vm.prank(client);
        market.extend(draft.id, draft.head, draft.payees, 0, 30, deadline);
        draft.head[2] += uint256(30) << 32;
        vm.prank(client);
        vm.expectPartialRevert(IMarket.SecondsRefused.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 1, deadline);
        vm.warp(START + 100);
        _settle(draft, 0, 90);
        assertEq(_balance(STATION), 100 + 3 * 90);
        assertEq(_balance(ENGINEER), 100);
        assertEq(_clientBalance(), 1000 - 200 - 3 * 90);
    }

    function test_cancelLeavesTheNodeTimeToReport() public {
        Draft memory draft = _service();
        vm.warp(START + 100);
        vm.prank(client);
        market.cancel(draft.id, draft.head, draft.payees);
        draft.head[3] = draft.head[3] & type(uint216).max | uint256(block.timestamp + 10 minutes) << 216 | 2 << 96;
        _settle(draft, 2, 50);
        assertEq(_balance(STATION), 150);
        assertEq(_clientBalance(), 850);
    }

    function test_cancelIsForTheClientAndOnlyShortens() public {
        Draft memory draft = _service();
        vm.expectRevert(IMarket.NotClient.selector);
        market.cancel(draft.id, draft.head, draft.payees);
        vm.warp(START + 1 days - 5 minutes);
        vm.prank(client);
        vm.expectRevert(IMarket.DeadlinePassed.selector);
        market.cancel(draft.id, draft.head, draft.payees);
    }

    function test_aServiceHasAGracePeriodThatKeepsItsMoney() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        _claim(draft, 10);
        vm.warp(START + 1 days + 1);
        vm.expectPartialRevert(IMarket.DeadlineNotPassed.selector);
        market.refund(draft.id, draft.head, draft.payees);
        uint40 deadline = uint40(block.timestamp + 5 days);
        vm.prank(client);
        vm.expectRevert(IMarket.DeadlinePassed.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 0, uint40(START + 1 days));
        vm.prank(client);
        market.extend(draft.id, draft.head, draft.payees, 0, 0, deadline);
        draft.head[3] = draft.head[3] & type(uint216).max | uint256(deadline) << 216;
        _claim(draft, 20);
        assertEq(_balance(STATION), 60);
    }

    function test_graceEndsAndAServiceThatTheClientEndsHasNone() public {
        Draft memory draft = _service();
        vm.warp(START + 10);
        _claim(draft, 10);
        vm.warp(START + 2 days + 1);
        vm.prank(client);
        vm.expectRevert(IMarket.DeadlinePassed.selector);
        market.extend(draft.id, draft.head, draft.payees, 0, 0, uint40(START + 9 days));
        market.refund(draft.id, draft.head, draft.payees);
        vm.warp(START);
        draft = _draft(draft.offers, 1001);
        _open(draft);
        vm.warp(START + 10);
        _claim(draft, 10);
        vm.prank(client);
        market.cancel(draft.id, draft.head, draft.payees);
        draft.head[3] = draft.head[3] & type(uint216).max | uint256(START + 10 + 10 minutes) << 216 | 2 << 96;
        vm.warp(START + 11 + 10 minutes);
        market.refund(draft.id, draft.head, draft.payees);
    }

    function test_secondsAfterTheDeadlineAreNotPaid() public {
        IMarket.Offer memory offer = _offer(STATION, 0);
        offer.terms.perSecondWei = 3;
        Draft memory draft = _draft(_publish(offer), 3 * 60);
        draft.head[3] = draft.head[3] & type(uint216).max | (START + 20) << 216;
        _open(draft);
        vm.warp(START + 10);
        _claim(draft, 10);
        vm.warp(START + 40);
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        bytes32[2] memory nodeSignature = _sign(NODE_B, _heartbeatDigest(draft.id, 40));
        market.claim(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), _none(), leaderSignature, 40, nodeSignature
        );
        assertEq(_balance(STATION), 60);
    }

    function test_secondsCountFromTheStart() public {
        Draft memory draft = _service();
        vm.warp(START + 100);
        _start(draft);
        vm.warp(START + 105);
        _settle(draft, 2, 50);
        assertEq(_balance(STATION), 15);
    }

    function test_startsOnceAndOnlyBeforeAnythingWasPaid() public {
        Draft memory draft = _service();
        _start(draft);
        vm.expectRevert(IMarket.AlreadyStarted.selector);
        this.start(draft, NODE_A, NODE_B);
        vm.warp(START + 10);
        _claim(draft, 10);
        Draft memory other = _draft(draft.offers, 1001);
        _open(other);
        vm.warp(START + 20);
        _claim(other, 5);
        vm.expectRevert(IMarket.AlreadyStarted.selector);
        this.start(other, NODE_A, NODE_B);
    }

    function test_aStartNeedsLeaderNodeTimeAndWords() public {
        Draft memory draft = _service();
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        this.start(draft, NODE_C, NODE_B);
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        bytes32[2] memory forged = _sign(NODE_C, _startDigest(draft.id));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.start(draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), _none(), leaderSignature, forged);
        draft.head[0] += 1;
        vm.expectPartialRevert(IMarket.EscrowMismatch.selector);
        this.start(draft, NODE_A, NODE_B);
        draft.head[0] -= 1;
        vm.warp(START + 1 days + 1);
        vm.expectRevert(IMarket.DeadlinePassed.selector);
        this.start(draft, NODE_A, NODE_B);
    }

    function start(Draft memory draft, uint256 leader, uint256 node) external {
        market.start(
            draft.id,
            draft.head,
            draft.payees,
            _assignment(node, 1),
            _none(),
            _sign(leader, _assignmentDigest(draft.id, node, 1)),
            _sign(node, _startDigest(draft.id))
        );
    }

    function _start(Draft memory draft) private {
        this.start(draft, NODE_A, NODE_B);
        draft.head[3] = draft.head[3] & ~(uint256(type(uint40).max) << 176) | block.timestamp << 176 | 1 << 96;
    }

    function test_refundsAfterTheDeadlineOnly() public {
        Draft memory draft = _service();
        vm.warp(START + 1 days);
        vm.expectPartialRevert(IMarket.DeadlineNotPassed.selector);
        market.refund(draft.id, draft.head, draft.payees);
        vm.warp(START + 1 days + 1);
        market.refund(draft.id, draft.head, draft.payees);
        assertEq(_clientBalance(), 1000);
        assertEq(market.anchorOf(draft.id), bytes32(uint256(1)));
        vm.expectPartialRevert(IMarket.EscrowMismatch.selector);
        market.refund(draft.id, draft.head, draft.payees);
    }

    function test_forfeitFillsTheKittyOnceAndNeverTheClient() public {
        Draft memory draft = _service();
        bytes32[2] memory signature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), new bytes32[](0), signature);
        vm.warp(START + 2 days);
        market.refund(draft.id, draft.head, draft.payees);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), new bytes32[](0), signature);
        assertEq(registry.kittyWei(), FORFEIT);
        assertEq(_clientBalance(), 1000);
        assertTrue(!registry.isActive(vm.addr(NODE_B)));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), new bytes32[](0), signature);
    }

    function test_forfeitNeedsTheLeadersSignature() public {
        Draft memory draft = _service();
        vm.warp(START + 2 days);
        market.refund(draft.id, draft.head, draft.payees);
        bytes32[2] memory forged = _sign(NODE_C, _assignmentDigest(draft.id, NODE_B, 1));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), new bytes32[](0), forged);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 9), _none(), new bytes32[](0), forged);
    }

    /// The leader after the one that assigned the order may have given it to somebody else.
    function test_anAssignmentOfAStaleTermForfeitsNothing() public {
        Draft memory draft = _service();
        bytes32[2] memory stale = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        _startTerm(2, NODE_A);
        bytes32[2] memory signature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_C, 2));
        vm.warp(START + 2 days);
        market.refund(draft.id, draft.head, draft.payees);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), new bytes32[](0), stale);
        market.forfeit(draft.id, _assignment(NODE_C, 2), _none(), new bytes32[](0), signature);
        (uint256 ofB,) = registry.stakeOf(vm.addr(NODE_B));
        (uint256 ofC,) = registry.stakeOf(vm.addr(NODE_C));
        assertTrue(ofB == STAKE && ofC == STAKE - FORFEIT);
    }

    function test_aNodeWhoseMeasurementWasRevokedForfeitsNothing() public {
        bytes32 other = keccak256("other software");
        _decide(_decision(1, other, 0));
        vm.warp(START + DELAY);
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_B);
        (certificate.measurement, certificate.issuedAt) = (other, 2);
        _register(certificate, 0);
        Draft memory draft = _service();
        bytes32[2] memory signature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        _decide(_decision(2, other, 0));
        vm.warp(block.timestamp + 2 days);
        market.refund(draft.id, draft.head, draft.payees);
        vm.expectRevert(IRegistry.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), new bytes32[](0), signature);
        (uint256 stakeWei,) = registry.stakeOf(vm.addr(NODE_B));
        assertEq(stakeWei, STAKE);
    }

    function test_aNodePastItsTimeSettlesNothing() public {
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_B);
        (certificate.issuedAt, certificate.notAfter) = (2, uint64(START + 50));
        _register(certificate, 0);
        Draft memory first = _opened(100);
        Draft memory second = _service();
        vm.warp(START + 50);
        _settle(first, 0, 50);
        vm.warp(START + 51);
        (bytes32[2] memory leaderSignature, bytes32[2] memory nodeSignature) = _signatures(second, _report(0, 50));
        vm.expectPartialRevert(IRegistry.NodeNotActive.selector);
        market.settle(
            second.id,
            second.head,
            second.payees,
            _assignment(NODE_B, 1),
            leaderSignature,
            _report(0, 50),
            nodeSignature
        );
    }

    function test_forfeitByABatchAssignment() public {
        Draft memory draft = _service();
        vm.warp(START + 2 days);
        market.refund(draft.id, draft.head, draft.payees);
        bytes32[] memory batch = new bytes32[](2);
        bytes32[2] memory signature = _signedBatch(batch);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), batch, signature);
        batch[1] = draft.id;
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), batch, _signedBatch(batch));
        assertEq(registry.kittyWei(), FORFEIT);
    }

    /// Not even of the node 0, should an authority ever certify one.
    function test_signaturesOfNobodyProveNothing() public {
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_B);
        certificate.node = address(0);
        _register(certificate, STAKE);
        bytes32 id = keccak256("any order");
        (IMarket.SignedReport memory first, IMarket.SignedReport memory second) = (_unsigned(1), _unsigned(2));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.proveDoubleReport(id, first, second);
        (uint256 stakeWei,) = registry.stakeOf(address(0));
        assertEq(stakeWei, STAKE);
    }

    function test_twoReportsForOneOrderCostTheStake() public {
        bytes32 id = keccak256("any order");
        IMarket.SignedReport memory first = _signed(NODE_B, id, _report(0, 1));
        IMarket.SignedReport memory second = _signed(NODE_B, id, _report(0, 2));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.proveDoubleReport(id, first, first);
        IMarket.SignedReport memory other = _signed(NODE_C, id, _report(0, 2));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.proveDoubleReport(id, first, other);
        market.proveDoubleReport(id, first, second);
        assertEq(registry.kittyWei(), STAKE);
        assertTrue(!registry.isActive(vm.addr(NODE_B)));
    }

    function test_aReportInABatchCountsAsOne() public {
        bytes32 id = keccak256("any order");
        IMarket.SignedReport memory first = _signed(NODE_B, id, _report(0, 1));
        IMarket.SignedReport memory second;
        second.report = _report(1, 1);
        second.batch = new bytes32[](2);
        second.batch[0] = _reportHash(id, second.report);
        bytes32 typehash = keccak256(
            "ReportBatch(Report[] reports)Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
        );
        bytes32 digest = _marketDigest(keccak256(abi.encode(typehash, keccak256(abi.encodePacked(second.batch)))));
        second.signature = _sign(NODE_B, digest);
        market.proveDoubleReport(id, first, second);
        assertEq(registry.kittyWei(), STAKE);
    }

    function claim(Draft memory draft, uint32 secondsUsed) external {
        _claim(draft, secondsUsed);
    }

    /// Claims, and moves the draft's words on as the contract does.
    function _claim(Draft memory draft, uint32 secondsUsed) private {
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        bytes32[2] memory nodeSignature = _sign(NODE_B, _heartbeatDigest(draft.id, secondsUsed));
        market.claim(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), _none(), leaderSignature, secondsUsed, nodeSignature
        );
        draft.head[3] += 3 * (secondsUsed - uint32(draft.head[2]));
        draft.head[2] += secondsUsed - uint32(draft.head[2]);
    }

    function _heartbeatDigest(bytes32 orderId, uint32 secondsUsed) private view returns (bytes32) {
        bytes32 typehash = keccak256("Heartbeat(bytes32 orderId,uint32 secondsUsed)");
        return _marketDigest(keccak256(abi.encode(typehash, orderId, secondsUsed)));
    }

    function _unsigned(uint32 secondsUsed) private pure returns (IMarket.SignedReport memory signed) {
        signed.report = _report(0, secondsUsed);
    }

    /// The leader's assignment of all these orders to NODE_B.
    function _signedBatch(bytes32[] memory batch) private view returns (bytes32[2] memory) {
        bytes32 typehash = keccak256("AssignmentBatch(bytes32[] orderIds,address node,uint64 term,uint64 epoch)");
        bytes32 hash = keccak256(abi.encodePacked(batch));
        return _sign(
            NODE_A, _marketDigest(keccak256(abi.encode(typehash, hash, vm.addr(NODE_B), uint64(1), uint64(1))))
        );
    }

    function _signed(uint256 key, bytes32 orderId, IMarket.ReportWords memory report)
        private
        view
        returns (IMarket.SignedReport memory signed)
    {
        signed.report = report;
        signed.signature = _sign(key, _marketDigest(_reportHash(orderId, report)));
    }

    /// An order on one offer at 100 and 3 per second.
    /// A term by two voters, of which one is new.
    function _startTermBy(uint64 term, uint256 leader) private {
        uint256[] memory keys = new uint256[](2);
        (keys[0], keys[1]) = (leader, STRANGER);
        registry.startTerm(term, vm.addr(leader), _signAscending(keys, _voteDigest(term, leader)));
    }

    function _service() private returns (Draft memory draft) {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.perSecondWei = 3;
        draft = _draft(_publish(offer), 1000);
        _open(draft);
    }
}
