// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {World} from "../helpers/World.sol";

contract SettleTest is World {
    function test_paysByTheTermsAndReturnsTheRest() public {
        Draft memory draft = _mixed();
        vm.warp(START + 30);
        _settle(draft, 0, 20);
        assertEq(_balance(STATION), uint256(100 + 3 * 20 + 333));
        assertEq(_balance(ENGINEER), 50);
        assertEq(_operatorBalance(), 40 + 2 * 20);
        assertEq(_balance(STATION) + _balance(ENGINEER) + _operatorBalance() + _clientBalance(), 10_000);
        assertEq(market.anchorOf(draft.id), keccak256(abi.encode(draft.id, keccak256("report"))));
    }

    function test_aFailureRefundsAllButBookings() public {
        Draft memory draft = _mixed();
        vm.warp(START + 30);
        _settle(draft, 1, 20);
        assertEq(_balance(STATION), 10);
        assertEq(_operatorBalance(), 0);
        assertEq(_clientBalance(), 9990);
    }

    function test_aCancellationPaysAttestedSecondsOnly() public {
        Draft memory draft = _mixed();
        vm.warp(START + 30);
        _settle(draft, 2, 20);
        assertEq(_balance(STATION), 10 + 3 * 20);
        assertEq(_operatorBalance(), 2 * 20);
        assertEq(_clientBalance(), 10_000 - 10 - 5 * 20);
    }

    function test_secondsAreBoundedByTheOrderAndByTime() public {
        Draft memory draft = _mixed();
        vm.warp(START + 5);
        _settle(draft, 0, 20);
        assertEq(_operatorBalance(), 40 + 2 * 5);
    }

    function test_moneyLeavesOnce() public {
        Draft memory draft = _mixed();
        _settle(draft, 0, 0);
        _expectSettle(IMarket.EscrowMismatch.selector, draft, _report(0, 0));
        vm.warp(START + 2 days);
        vm.expectPartialRevert(IMarket.EscrowMismatch.selector);
        market.refund(draft.id, draft.head, draft.payees);
    }

    function test_aReportCannotPassForAnOpenOrder() public {
        Draft memory draft = _mixed();
        IMarket.ReportWords memory report = _report(0, 0);
        report.reportDigest = market.anchorOf(draft.id);
        _settleBy(draft, report, NODE_A, NODE_B, 1);
        _expectSettle(IMarket.EscrowMismatch.selector, draft, report);
    }

    function test_refusesOtherWords() public {
        Draft memory draft = _mixed();
        draft.head[0] += 1;
        _expectSettle(IMarket.EscrowMismatch.selector, draft, _report(0, 0));
        draft.head[0] -= 1;
        draft.payees[0] += 1;
        _expectSettle(IMarket.EscrowMismatch.selector, draft, _report(0, 0));
    }

    function test_refusesAfterTheDeadline() public {
        Draft memory draft = _mixed();
        vm.warp(START + 1 days + 1);
        _expectSettle(IMarket.DeadlinePassed.selector, draft, _report(0, 0));
        vm.warp(START + 1 days);
        _settle(draft, 0, 0);
    }

    function test_refusesAnUnknownOutcome() public {
        _expectSettle(IMarket.ReportInvalid.selector, _mixed(), _report(3, 0));
    }

    function test_aStaleTermSettlesNothing() public {
        Draft memory draft = _mixed();
        _startTerm(2, NODE_C);
        _expectSettle(IRegistry.TermStale.selector, draft, _report(0, 0));
        _settleBy(draft, _report(0, 0), NODE_C, NODE_B, 2);
    }

    function test_refusesAnAssignmentByAnotherThanTheLeader() public {
        Draft memory draft = _mixed();
        IMarket.ReportWords memory report = _report(0, 0);
        (, bytes32[2] memory nodeSignature) = _signatures(draft, report);
        bytes32[2] memory forged = _sign(NODE_C, _assignmentDigest(draft.id, NODE_B, 1));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), forged, report, nodeSignature);
    }

    function test_refusesAReportByAnotherNode() public {
        Draft memory draft = _mixed();
        IMarket.ReportWords memory report = _report(0, 0);
        (bytes32[2] memory leaderSignature,) = _signatures(draft, report);
        bytes32[2] memory forged = _sign(NODE_C, _marketDigest(_reportHash(draft.id, report)));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), leaderSignature, report, forged);
    }

    function test_refusesSignaturesOfAnotherOrder() public {
        Draft memory first = _mixed();
        Draft memory second = _opened(5);
        IMarket.ReportWords memory report = _report(0, 0);
        (bytes32[2] memory leaderSignature, bytes32[2] memory nodeSignature) = _signatures(first, report);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(
            second.id, second.head, second.payees, _assignment(NODE_B, 1), leaderSignature, report, nodeSignature
        );
    }

    function test_refusesSignaturesForAnotherChain() public {
        Draft memory draft = _mixed();
        IMarket.ReportWords memory report = _report(0, 0);
        (bytes32[2] memory leaderSignature, bytes32[2] memory nodeSignature) = _signatures(draft, report);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), leaderSignature, report, nodeSignature
        );
    }

    function test_refusesMalleableSignatures() public {
        Draft memory draft = _mixed();
        IMarket.ReportWords memory report = _report(0, 0);
        (bytes32[2] memory leaderSignature, bytes32[2] memory nodeSignature) = _signatures(draft, report);
        leaderSignature[1] ^= bytes32(uint256(1) << 255);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), leaderSignature, report, nodeSignature
        );
    }

    function test_refusesANodeThatIsRevokedPrunedOrExpired() public {
        Draft memory draft = _mixed();
        bytes32 typehash = keccak256("NodeRevocation(address node)");
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _sign65(AUTHORITY, _registryDigest(keccak256(abi.encode(typehash, vm.addr(NODE_B)))));
        registry.revokeNode(vm.addr(NODE_B), signatures);
        _expectSettle(IRegistry.NodeNotActive.selector, draft, _report(0, 0));
    }

    function test_refusesANodeWhoseMeasurementWasRevokedUntilItComesBackWithAnother() public {
        Draft memory draft = _mixed();
        _decide(_decision(1, keccak256("next"), 0));
        vm.warp(START + DELAY);
        IRegistry.NodeCertificate memory renewed = _certificate(NODE_C);
        (renewed.measurement, renewed.issuedAt) = (keccak256("next"), 2);
        _register(renewed, 0);
        vm.warp(START + 1 hours);
        _decide(_decision(2, MEASUREMENT, 0));
        _expectSettle(IRegistry.LeaderVoid.selector, draft, _report(0, 0));
        vm.warp(START + DELAY);
        assertTrue(!registry.isActive(vm.addr(NODE_B)) && registry.isActive(vm.addr(NODE_C)));
    }

    function test_aVoidedTermSettlesNothingNotEvenWithASignatureOfNobody() public {
        Draft memory draft = _mixed();
        vm.prank(operator);
        registry.exit(vm.addr(NODE_A));
        IMarket.ReportWords memory report = _report(0, 0);
        (, bytes32[2] memory nodeSignature) = _signatures(draft, report);
        bytes32[2] memory nobody;
        vm.expectRevert(IRegistry.LeaderVoid.selector);
        market.settle(draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), nobody, report, nodeSignature);
    }

    function test_aRevokedMeasurementStopsItsNodesUnderAnyLeader() public {
        _decide(_decision(1, keccak256("next"), 0));
        vm.warp(START + DELAY);
        IRegistry.NodeCertificate memory renewed = _certificate(NODE_B);
        (renewed.measurement, renewed.issuedAt) = (keccak256("next"), 2);
        _register(renewed, 0);
        Draft memory draft = _mixed();
        _decide(_decision(2, keccak256("next"), 0));
        _expectSettle(IRegistry.NodeNotActive.selector, draft, _report(0, 0));
    }

    function test_anOldRevisionIsLookedUpAndStillSettles() public {
        _decide(_decision(1, keccak256("other"), 0));
        Draft memory draft = _mixed();
        _decide(_decision(2, keccak256("other"), 0));
        _settle(draft, 0, 0);
        assertTrue(_operatorBalance() > 0);
    }

    function test_refusesANodeThatOnlyVotes() public {
        IRegistry.NodeCertificate memory voter = _certificate(0xD44);
        voter.roles = 1;
        _register(voter, STAKE);
        Draft memory draft = _mixed();
        IMarket.ReportWords memory report = _report(0, 0);
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assignmentDigest(draft.id, 0xD44, 1));
        bytes32[2] memory nodeSignature = _sign(0xD44, _marketDigest(_reportHash(draft.id, report)));
        vm.expectPartialRevert(IRegistry.NodeNotActive.selector);
        market.settle(draft.id, draft.head, draft.payees, _assignment(0xD44, 1), leaderSignature, report, nodeSignature);
    }

    function testFuzz_thePartsAddUpToTheDeposit(
        uint96 fixedWei,
        uint48 perSecondWei,
        uint16 shareBps,
        uint96 poolWei,
        uint48 computePerSecondWei,
        uint32 secondsUsed,
        uint8 outcome
    ) public {
        IMarket.Offer memory offer = _offer(STATION, fixedWei % 2 ** 80);
        offer.terms.perSecondWei = perSecondWei;
        offer.terms.bookingWei = offer.terms.fixedWei / 3;
        offer.terms.shareBps = shareBps % 10_001;
        uint96 depositWei = 2 ** 90;
        Draft memory draft = _draft(_publish(offer), depositWei);
        draft.head[1] = poolWei % 2 ** 80;
        draft.head[2] |= uint256(computePerSecondWei) << 64;
        vm.deal(client, depositWei);
        _open(draft);
        vm.warp(START + 1 hours);
        _settle(draft, outcome % 3, secondsUsed);
        assertEq(_balance(STATION) + _operatorBalance() + _clientBalance(), depositWei);
    }

    function _mixed() private returns (Draft memory draft) {
        IMarket.Offer memory data = _offer(STATION, 100);
        (data.terms.perSecondWei, data.terms.bookingWei, data.terms.shareBps) = (3, 10, 3333);
        IMarket.Offer memory engine = _offer(ENGINEER, 50);
        engine.terms.shareBps = 1;
        draft = _draft(_join(_publish(data), _publish(engine)), 10_000);
        draft.head[1] = 1000;
        draft.head[2] |= uint256(40) << 160 | uint256(2) << 64;
        _open(draft);
    }

    function _expectSettle(bytes4 selector, Draft memory draft, IMarket.ReportWords memory report) private {
        (bytes32[2] memory leaderSignature, bytes32[2] memory nodeSignature) = _signatures(draft, report);
        vm.expectPartialRevert(selector);
        market.settle(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), leaderSignature, report, nodeSignature
        );
    }
}
