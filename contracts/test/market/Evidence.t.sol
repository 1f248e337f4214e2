// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {World} from "../helpers/World.sol";

/// @notice Reports that a node signed for orders opened after its certificate was revoked.
contract EvidenceTest is World {
    uint256 private constant LATE = 10 minutes + 1;

    function test_aReportAfterTheNodesRevocationCostsWhatIsLeftOfItsStake() public {
        _revoke(NODE_B);
        vm.warp(START + LATE);
        Draft memory draft = _opened(100);
        _prove(draft, NODE_B);
        assertEq(_stake(NODE_B), 0);
        assertEq(registry.kittyWei(), STAKE);
        vm.expectRevert(IRegistry.EvidenceRejected.selector);
        _prove(draft, NODE_B);
    }

    function test_aReportAfterTheMeasurementsRevocationCountsToo() public {
        _decide(_decision(2, MEASUREMENT, 0));
        vm.warp(START + LATE);
        Draft memory draft = _opened(100);
        _prove(draft, NODE_B);
        assertEq(_stake(NODE_B), 0);
        assertTrue(!registry.isActive(vm.addr(NODE_B)));
    }

    function test_aReportForAnOrderThatWasThereBeforeProvesNothing() public {
        Draft memory draft = _opened(100);
        _revoke(NODE_B);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        _prove(draft, NODE_B);
        Draft memory sameBlock = _draft(draft.offers, 101);
        _open(sameBlock);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        _prove(sameBlock, NODE_B);
    }

    function test_anOrderSoSoonAfterTheRevocationThatTheChainMayTurnThemProvesNothing() public {
        _revoke(NODE_B);
        vm.warp(START + LATE - 1);
        Draft memory draft = _opened(100);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        _prove(draft, NODE_B);
        assertEq(_stake(NODE_B), STAKE);
    }

    function test_aNodeInGoodStandingIsNotSlashed() public {
        Draft memory draft = _opened(100);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        _prove(draft, NODE_B);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        _prove(draft, STRANGER);
    }

    function test_aStartedOrdersTimeProvesNothing() public {
        Draft memory draft = _opened(100);
        _revoke(NODE_B);
        vm.warp(START + LATE);
        market.start(
            draft.id,
            draft.head,
            draft.payees,
            _assignment(NODE_C, 1),
            _none(),
            _sign(NODE_A, _assignmentDigest(draft.id, NODE_C, 1)),
            _sign(NODE_C, _startDigest(draft.id))
        );
        draft.head[3] = draft.head[3] & ~(uint256(type(uint40).max) << 176) | block.timestamp << 176 | 1 << 96;
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        _prove(draft, NODE_B);
    }

    function test_theWordsMustBeTheOrders() public {
        _revoke(NODE_B);
        vm.warp(START + LATE);
        Draft memory draft = _opened(100);
        draft.head[3] += 1 << 176;
        vm.expectPartialRevert(IMarket.EscrowMismatch.selector);
        _prove(draft, NODE_B);
    }

    function test_twoCertificatesForOneTermCostASharedVoter() public {
        bytes[] memory first = _votes(5, NODE_A);
        bytes[] memory second = _votes(5, NODE_C);
        registry.startTerm(5, vm.addr(NODE_A), first);
        registry.proveDoubleVote(5, vm.addr(NODE_A), first[0], vm.addr(NODE_C), second[0]);
        uint256 left = _stake(NODE_A) + _stake(NODE_B) + _stake(NODE_C);
        assertEq(left, 2 * uint256(STAKE));
    }

    function _prove(Draft memory draft, uint256 node) private {
        this.prove(draft, node);
    }

    function prove(Draft memory draft, uint256 node) external {
        IMarket.SignedReport memory signed;
        signed.report = _report(0, 1);
        signed.signature = _sign(node, _marketDigest(_reportHash(draft.id, signed.report)));
        market.proveRevokedReport(draft.id, draft.head, draft.payees, signed);
    }

    function _revoke(uint256 node) private {
        bytes[] memory signatures = new bytes[](1);
        bytes32 typehash = keccak256("NodeRevocation(address node)");
        signatures[0] = _sign65(AUTHORITY, _registryDigest(keccak256(abi.encode(typehash, vm.addr(node)))));
        registry.revokeNode(vm.addr(node), signatures);
    }

    function _stake(uint256 node) private view returns (uint256 stakeWei) {
        (stakeWei,) = registry.stakeOf(vm.addr(node));
    }
}
