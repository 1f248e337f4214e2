// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {World} from "../helpers/World.sol";

/// @notice Orders with several compute slots.
contract SlotsTest is World {
    address private operatorC = address(0xC0C);

    function test_paysEachSlotsOperatorForItsOwnSeconds() public {
        Draft memory draft = _three();
        vm.warp(START + 30);
        _settleSlots(draft, _report(0, 20), _more(NODE_A, 20, NODE_C, 5));
        assertEq(_balance(STATION), 100);
        assertEq(_operatorBalance(), 2 * (40 + 2 * 20));
        assertEq(market.balanceOf(address(0), operatorC), 40 + 2 * 5);
        assertEq(_clientBalance(), 10_000 - 100 - 160 - 50);
    }

    function test_aSlotIsPaidNoMoreSecondsThanTheOrder() public {
        Draft memory draft = _three();
        vm.warp(START + 30);
        _settleSlots(draft, _report(0, 20), _more(NODE_A, 0, NODE_C, 4_000_000_000));
        assertEq(market.balanceOf(address(0), operatorC), 40 + 2 * 20);
    }

    function test_aFailurePaysNoSlot() public {
        Draft memory draft = _three();
        vm.warp(START + 30);
        _settleSlots(draft, _report(1, 20), _more(NODE_A, 20, NODE_C, 20));
        assertEq(_operatorBalance() + market.balanceOf(address(0), operatorC), 0);
        assertEq(_clientBalance(), 10_000);
    }

    function test_aRevokedSlotIsNotPaidAndTheOthersAre() public {
        Draft memory draft = _three();
        vm.warp(START + 30);
        bytes[] memory signatures = new bytes[](1);
        bytes32 typehash = keccak256("NodeRevocation(address node)");
        signatures[0] = _sign65(AUTHORITY, _registryDigest(keccak256(abi.encode(typehash, vm.addr(NODE_C)))));
        registry.revokeNode(vm.addr(NODE_C), signatures);
        _settleSlots(draft, _report(0, 20), _more(NODE_A, 20, NODE_C, 20));
        assertEq(market.balanceOf(address(0), operatorC), 0);
        assertEq(_operatorBalance(), 160);
        assertEq(_balance(STATION) + _operatorBalance() + _clientBalance(), 10_000);
    }

    function test_claimsPayEachSlotOnceForEachSecond() public {
        Draft memory draft = _three();
        vm.warp(START + 30);
        uint256[] memory more = _more(NODE_A, 10, NODE_C, 4);
        market.claim(
            draft.id,
            draft.head,
            draft.payees,
            _assignment(NODE_B, 1),
            more,
            _sign(NODE_A, _slotsAssignmentDigest(draft.id, NODE_B, more, 1)),
            10,
            _sign(NODE_B, _slotsHeartbeatDigest(draft.id, 10, more))
        );
        assertEq(_operatorBalance(), 2 * 10 + 2 * 10);
        assertEq(market.balanceOf(address(0), operatorC), 8);
        draft.head[2] += 10;
        draft.head[3] += 48;
        _settleSlots(draft, _report(2, 15), _more(NODE_A, 15, NODE_C, 15));
        assertEq(_operatorBalance(), 2 * 15 + 2 * 15);
        assertEq(market.balanceOf(address(0), operatorC), 8 + 2 * 5);
        assertEq(_balance(STATION) + _operatorBalance() + 18 + _clientBalance(), 10_000);
    }

    function test_refusesOtherNumbersOfSlots() public {
        Draft memory draft = _three();
        _expectSlots(draft, _none(), IMarket.SlotsInvalid.selector);
        vm.expectRevert(IMarket.SlotsInvalid.selector);
        this.settle(draft);
        Draft memory single = _opened(100);
        _expectSlots(single, _more(NODE_A, 0, NODE_C, 0), IMarket.SlotsInvalid.selector);
        _settleSlots(single, _report(0, 0), _none());
        assertEq(_balance(STATION), 100);
    }

    function test_aSlotIsAnotherNodes() public {
        Draft memory draft = _three();
        _expectSlots(draft, _more(NODE_B, 1, NODE_C, 1), IMarket.SlotsInvalid.selector);
        _expectSlots(draft, _more(NODE_C, 1, NODE_C, 1), IMarket.SlotsInvalid.selector);
        uint256[] memory more = _more(NODE_A, 1, NODE_C, 1);
        (more[0], more[1]) = (more[1], more[0]);
        _expectSlots(draft, more, IMarket.SlotsInvalid.selector);
    }

    function test_nobodyChangesNodesOrSecondsOnTheWay() public {
        Draft memory draft = _three();
        uint256[] memory more = _more(NODE_A, 1, NODE_C, 1);
        IMarket.ReportWords memory report = _report(0, 1);
        bytes32[2] memory leaderSignature = _sign(NODE_A, _slotsAssignmentDigest(draft.id, NODE_B, more, 1));
        bytes32[2] memory nodeSignature = _sign(NODE_B, _marketDigest(_slotsReportHash(draft.id, report, more)));
        more[0] += 1;
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settleSlots(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), more, leaderSignature, report, nodeSignature
        );
        more[0] -= 1;
        more[1] += 1 << 96;
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settleSlots(
            draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), more, leaderSignature, report, nodeSignature
        );
    }

    function test_theDepositCoversEverySlot() public {
        Draft memory draft = _drafted(100 + 3 * (40 + 2 * 60) - 1);
        vm.prank(client);
        vm.expectPartialRevert(IMarket.DepositTooSmall.selector);
        market.open{value: uint96(draft.head[0])}(draft.head, draft.digests, draft.offers, new bytes[](0));
        draft.head[0] += 1;
        _open(draft);
        vm.prank(client);
        vm.expectPartialRevert(IMarket.DepositTooSmall.selector);
        market.extend{value: 5}(draft.id, draft.head, draft.payees, 5, 1, uint40(draft.head[3] >> 216));
        vm.prank(client);
        market.extend{value: 6}(draft.id, draft.head, draft.payees, 6, 1, uint40(draft.head[3] >> 216));
    }

    function test_theFirstNodeForfeits() public {
        Draft memory draft = _three();
        vm.warp(START + 1 days + 1);
        market.refund(draft.id, draft.head, draft.payees);
        uint256[] memory more = _more(NODE_A, 0, NODE_C, 0);
        bytes32[2] memory signature = _sign(NODE_A, _slotsAssignmentDigest(draft.id, NODE_B, more, 1));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.forfeit(draft.id, _assignment(NODE_B, 1), _none(), new bytes32[](0), signature);
        market.forfeit(draft.id, _assignment(NODE_B, 1), more, new bytes32[](0), signature);
        (uint256 stakeWei,) = registry.stakeOf(vm.addr(NODE_B));
        assertEq(stakeWei, STAKE - FORFEIT);
    }

    function test_twoReportsThatDifferInASlotCostTheStake() public {
        Draft memory draft = _three();
        IMarket.SignedReport memory first = _signed(draft.id, _more(NODE_A, 1, NODE_C, 1));
        IMarket.SignedReport memory second = _signed(draft.id, _more(NODE_A, 1, NODE_C, 2));
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.proveDoubleReport(draft.id, first, first);
        market.proveDoubleReport(draft.id, first, second);
        (uint256 stakeWei,) = registry.stakeOf(vm.addr(NODE_B));
        assertEq(stakeWei, 0);
    }

    function testFuzz_thePartsOfSlotsAddUp(uint8 outcome, uint32 used, uint32 usedA, uint32 usedC) public {
        Draft memory draft = _three();
        vm.warp(START + 30);
        _settleSlots(draft, _report(outcome % 3, used), _more(NODE_A, usedA, NODE_C, usedC));
        uint256 paid = _balance(STATION) + _operatorBalance() + market.balanceOf(address(0), operatorC);
        assertEq(paid + _clientBalance(), 10_000);
    }

    function settle(Draft memory draft) external {
        _settle(draft, 0, 0);
    }

    function settleSlots(Draft memory draft, IMarket.ReportWords memory report, uint256[] memory more) external {
        bytes32 hash = more.length == 0
            ? _reportHash(draft.id, report)
            : _slotsReportHash(draft.id, report, more);
        bytes32 assigned = more.length == 0
            ? _assignmentDigest(draft.id, NODE_B, 1)
            : _slotsAssignmentDigest(draft.id, NODE_B, more, 1);
        market.settleSlots(
            draft.id,
            draft.head,
            draft.payees,
            _assignment(NODE_B, 1),
            more,
            _sign(NODE_A, assigned),
            report,
            _sign(NODE_B, _marketDigest(hash))
        );
    }

    function _settleSlots(Draft memory draft, IMarket.ReportWords memory report, uint256[] memory more) private {
        this.settleSlots(draft, report, more);
    }

    function _expectSlots(Draft memory draft, uint256[] memory more, bytes4 selector) private {
        vm.expectRevert(selector);
        this.settleSlots(draft, _report(0, 1), more);
    }

    function _signed(bytes32 orderId, uint256[] memory more)
        private
        view
        returns (IMarket.SignedReport memory signed)
    {
        signed.report = _report(0, 1);
        signed.more = more;
        signed.signature = _sign(NODE_B, _marketDigest(_slotsReportHash(orderId, signed.report, more)));
    }

    /// 100 for the data, and 40 and 2 per second for each of three slots. NODE_C has an operator of its own.
    function _drafted(uint96 depositWei) private returns (Draft memory draft) {
        draft = _draft(_publish(_offer(STATION, 100)), depositWei);
        draft.head[2] |= uint256(40) << 160 | uint256(2) << 64;
        draft.head[3] |= 3 << 104;
    }

    function _three() private returns (Draft memory draft) {
        vm.prank(operator);
        registry.exit(vm.addr(NODE_C));
        vm.warp(START + EXIT_DELAY);
        registry.releaseStake(vm.addr(NODE_C));
        vm.warp(START);
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_C);
        (certificate.operator, certificate.issuedAt) = (operatorC, 2);
        _register(certificate, STAKE);
        draft = _drafted(10_000);
        _open(draft);
    }
}
