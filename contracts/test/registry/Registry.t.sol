// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../../src/Market.sol";
import {Registry} from "../../src/Registry.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {World} from "../helpers/World.sol";

/// @notice Decisions of the builders, nodes and their stake.
contract RegistryTest is World {
    function test_approvalsWaitForTheDelay() public {
        _decide(_decision(1, "next", 0));
        assertTrue(!registry.isMeasurementApproved("next"));
        vm.warp(START + DELAY - 1);
        assertTrue(!registry.isMeasurementApproved("next"));
        vm.warp(START + DELAY);
        assertTrue(registry.isMeasurementApproved("next"));
    }

    function test_authoritiesWaitForTheDelayToo() public {
        bytes32 subject = bytes32(uint256(uint160(vm.addr(STRANGER))));
        _decide(_decision(3, subject, 0));
        assertTrue(!registry.isAuthority(vm.addr(STRANGER)));
        vm.warp(START + DELAY);
        assertTrue(registry.isAuthority(vm.addr(STRANGER)));
        _decide(_decision(4, subject, 0));
        assertTrue(!registry.isAuthority(vm.addr(STRANGER)));
        IRegistry.Decision memory again = _decision(4, subject, 0);
        vm.expectPartialRevert(IRegistry.AuthorityNotApproved.selector);
        this.decide(again);
    }

    function test_revocationIsImmediateForGoodAndNeedsOneBuilder() public {
        IRegistry.Decision memory decision = _decision(2, MEASUREMENT, 0);
        registry.decide(decision, _signedBy(BUILDER_1, _decisionDigest(decision)));
        assertTrue(!registry.isMeasurementApproved(MEASUREMENT) && !registry.isActive(vm.addr(NODE_A)));
        (uint64 term, address leader) = registry.currentTerm();
        assertTrue(term == 1 && leader == address(0));
        IRegistry.Decision memory back = _decision(1, MEASUREMENT, 0);
        vm.expectRevert(IRegistry.DecisionAlreadyTaken.selector);
        this.decide(back);
        vm.expectPartialRevert(IRegistry.MeasurementNotApproved.selector);
        this.decide(decision);
    }

    function test_approvalNeedsTheThreshold() public {
        IRegistry.Decision memory decision = _decision(1, "next", 0);
        bytes[] memory one = _signedBy(BUILDER_1, _decisionDigest(decision));
        vm.expectPartialRevert(IRegistry.ThresholdNotMet.selector);
        registry.decide(decision, one);
        bytes[] memory twice = new bytes[](2);
        (twice[0], twice[1]) = (one[0], one[0]);
        vm.expectRevert(IRegistry.SignersNotAscending.selector);
        registry.decide(decision, twice);
        bytes[] memory stranger = _signedBy(STRANGER, _decisionDigest(decision));
        vm.expectRevert(IRegistry.SignatureInvalid.selector);
        registry.decide(decision, stranger);
    }

    function test_buildersAndParametersChangeAfterTheDelayOnly() public {
        IRegistry.Decision memory decision = _decision(9, 0, 2 ether);
        vm.expectRevert(IRegistry.DecisionUnknown.selector);
        registry.enact(decision);
        _decide(decision);
        vm.expectRevert(IRegistry.DecisionAlreadyTaken.selector);
        this.decide(decision);
        vm.expectPartialRevert(IRegistry.DecisionNotYetEffective.selector);
        registry.enact(decision);
        vm.warp(START + DELAY);
        registry.enact(decision);
        assertEq(registry.nodeStakeWei(), 2 ether);
        vm.expectPartialRevert(IRegistry.RoundStale.selector);
        registry.enact(decision);
        vm.expectPartialRevert(IRegistry.RoundStale.selector);
        this.decide(decision);
    }

    function test_everyParameterHasItsBounds() public {
        _expectBounds(7, 4);
        _expectBounds(8, 3);
        _expectBounds(9, 1e24 + 1);
        _expectBounds(10, STAKE + 1);
        _expectBounds(11, 90 days + 1);
        _expectBounds(11, DELAY - 1);
        _expectBounds(12, 1e24 + 1);
        _enact(7, 0, 3);
        _enact(8, 0, 2);
        _enact(10, 0, 5);
        _enact(11, 0, 9 days);
        _enact(11, 0, DELAY);
        _enact(11, 0, 9 days);
        _enact(12, 0, 8);
        assertTrue(registry.threshold() == 3 && registry.revokeThreshold() == 2 && registry.forfeitWei() == 5);
        assertTrue(registry.delaySeconds() == 9 days && registry.rewardWei() == 8);
    }

    function test_buildersComeAndGo() public {
        _enact(5, bytes32(uint256(uint160(vm.addr(STRANGER)))), 0);
        assertTrue(registry.isBuilder(vm.addr(STRANGER)) && registry.builderCount() == 4);
        _enact(6, bytes32(uint256(uint160(vm.addr(BUILDER_3)))), 0);
        _enact(6, bytes32(uint256(uint160(vm.addr(STRANGER)))), 0);
        assertTrue(!registry.isBuilder(vm.addr(STRANGER)) && registry.builderCount() == 2);
        IRegistry.Decision memory last = _decision(6, bytes32(uint256(uint160(vm.addr(BUILDER_2)))), 0);
        _decide(last);
        vm.warp(START + 100 days);
        vm.expectRevert(IRegistry.ConfigOutOfBounds.selector);
        registry.enact(last);
    }

    function test_refusesUnknownDecisions() public {
        _expectUnknown(_decision(13, 0, 0));
        _expectUnknown(_decision(0, 0, 0));
        _expectUnknown(_decision(3, bytes32(type(uint256).max), 0));
    }

    function test_constructorRefusesWhatIsOutOfBounds() public {
        for (uint256 i; i < 9; ++i) {
            IRegistry.Config memory config = _config(address(1));
            if (i == 0) config.market = address(0);
            if (i == 1) config.builders = new address[](0);
            if (i == 2) config.threshold = 4;
            if (i == 3) config.revokeThreshold = 3;
            if (i == 4) config.delaySeconds = 91 days;
            if (i == 5) config.exitDelaySeconds = 366 days;
            if (i == 6) config.forfeitWei = STAKE + 1;
            if (i == 7) config.threshold = 0;
            if (i == 8) config.rewardWei = 1e25;
            vm.expectRevert(IRegistry.ConfigOutOfBounds.selector);
            new Registry(config);
        }
        vm.expectRevert(IMarket.NotOwner.selector);
        new Market(registry);
    }

    function test_aNodeNeedsItsOperatorAndAnApprovedCertificate() public {
        IRegistry.NodeCertificate memory certificate = _certificate(0xD44);
        bytes memory signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        vm.expectRevert(IRegistry.NotOperator.selector);
        registry.registerNode(certificate, signature, "");
        certificate.roles = 7;
        _expectRefused(IRegistry.AuthorityNotApproved.selector, certificate, signature, STAKE);
        certificate.roles = 3;
        _expectRefused(IRegistry.StakeTooLow.selector, certificate, signature, STAKE - 1);
        certificate.notAfter = uint64(START - 1);
        signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        _expectRefused(IRegistry.CertificateExpired.selector, certificate, signature, STAKE);
        certificate.notAfter = type(uint64).max;
        signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        _expectRefused(IRegistry.CertificateExpired.selector, certificate, signature, STAKE);
        certificate = _certificate(0xD44);
        certificate.measurement = "unknown";
        signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        _expectRefused(IRegistry.MeasurementNotApproved.selector, certificate, signature, STAKE);
    }

    function test_refusesTheSecondFormOfASignature() public {
        IRegistry.NodeCertificate memory certificate = _certificate(0xD44);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(AUTHORITY, _certificateDigest(certificate));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes memory second = abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
        _expectRefused(IRegistry.AuthorityNotApproved.selector, certificate, second, STAKE);
        _expectRefused(IRegistry.AuthorityNotApproved.selector, certificate, abi.encodePacked(r, s, v, v), STAKE);
    }

    function test_renewalNeedsANewerCertificateAndTheSameOperator() public {
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_A);
        bytes memory signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        _expectRefused(IRegistry.CertificateNotNewer.selector, certificate, signature, 0);
        (certificate.issuedAt, certificate.roles) = (2, 2);
        _register(certificate, 0);
        assertEq(registry.voterCount(), 2);
        certificate.issuedAt = 3;
        certificate.operator = address(0x77);
        signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        _expectRefused(IRegistry.NotOperator.selector, certificate, signature, STAKE);
    }

    /// Proofs read these words without asking the contract. spec/proof-file.md
    function test_approvalsLieWhereProofsReadThem() public {
        uint256 index = uint256(vm.load(address(registry), keccak256(abi.encode(MEASUREMENT, 5))));
        bytes32 approval = vm.load(address(registry), bytes32(uint256(keccak256(abi.encode(4))) + index));
        assertTrue(index == 1 && uint64(uint256(approval)) != 0 && uint256(approval) >> 64 == 0);
        bytes32 authority = vm.load(address(registry), keccak256(abi.encode(vm.addr(AUTHORITY), 6)));
        assertTrue(uint64(uint256(authority)) != 0 && uint256(authority) >> 64 == 0);
        _decide(_decision(2, MEASUREMENT, 0));
        approval = vm.load(address(registry), bytes32(uint256(keccak256(abi.encode(4))) + index));
        assertTrue(uint256(approval) >> 64 == block.timestamp);
    }

    function test_revokedNodesStayOut() public {
        bytes32 digest = _revocationDigest(NODE_A);
        registry.revokeNode(vm.addr(NODE_A), _signedBy(BUILDER_2, digest));
        assertEq(registry.voterCount(), 2);
        (, address leader) = registry.currentTerm();
        assertEq(leader, address(0));
        bytes[] memory again = _signedBy(AUTHORITY, digest);
        vm.expectPartialRevert(IRegistry.NodeBarred.selector);
        registry.revokeNode(vm.addr(NODE_A), again);
        IRegistry.NodeCertificate memory certificate = _certificate(NODE_A);
        certificate.issuedAt = 2;
        bytes memory signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        _expectRefused(IRegistry.NodeBarred.selector, certificate, signature, STAKE);
        bytes[] memory stranger = _signedBy(STRANGER, _revocationDigest(NODE_B));
        vm.expectRevert(IRegistry.SignatureInvalid.selector);
        registry.revokeNode(vm.addr(NODE_B), stranger);
    }

    function test_prunesExpiredNodesOnly() public {
        vm.expectPartialRevert(IRegistry.NodeStillActive.selector);
        registry.prune(vm.addr(NODE_C));
        vm.warp(START + 365 days);
        vm.expectPartialRevert(IRegistry.NodeStillActive.selector);
        registry.prune(vm.addr(NODE_C));
        vm.warp(START + 365 days + 1);
        registry.prune(vm.addr(NODE_C));
        assertEq(registry.voterCount(), 2);
        vm.expectPartialRevert(IRegistry.NodeStillActive.selector);
        registry.prune(vm.addr(NODE_C));
    }

    function test_exitReleasesTheStakeAfterTheDelay() public {
        address node = vm.addr(NODE_C);
        vm.expectRevert(IRegistry.NotOperator.selector);
        registry.exit(node);
        vm.prank(operator);
        registry.exit(node);
        assertTrue(!registry.isActive(node) && registry.voterCount() == 2);
        vm.prank(operator);
        vm.expectPartialRevert(IRegistry.StakeLocked.selector);
        registry.exit(node);
        vm.warp(START + EXIT_DELAY - 1);
        vm.expectPartialRevert(IRegistry.StakeLocked.selector);
        registry.releaseStake(node);
        vm.warp(START + EXIT_DELAY);
        uint256 before = operator.balance;
        registry.releaseStake(node);
        assertEq(operator.balance - before, STAKE);
        vm.expectPartialRevert(IRegistry.StakeLocked.selector);
        registry.releaseStake(node);
    }

    function test_theStakeOfALeavingNodeStaysLiable() public {
        vm.prank(operator);
        registry.exit(vm.addr(NODE_C));
        _proveDoubleVote(NODE_C);
        assertEq(registry.kittyWei(), STAKE);
        vm.warp(START + EXIT_DELAY);
        registry.releaseStake(vm.addr(NODE_C));
        (uint256 stakeWei,) = registry.stakeOf(vm.addr(NODE_C));
        assertEq(stakeWei, 0);
    }

    function test_twoVotesInOneTermCostTheStakeOnce() public {
        _proveDoubleVote(NODE_B);
        assertEq(registry.kittyWei(), STAKE);
        assertTrue(!registry.isActive(vm.addr(NODE_B)));
        vm.expectRevert(IRegistry.EvidenceRejected.selector);
        this.proveDoubleVote(NODE_B);
        bytes memory vote = _sign65(NODE_C, _voteDigest(9, NODE_A));
        bytes memory other = _sign65(NODE_A, _voteDigest(9, NODE_B));
        vm.expectRevert(IRegistry.EvidenceRejected.selector);
        registry.proveDoubleVote(9, vm.addr(NODE_A), vote, vm.addr(NODE_A), vote);
        vm.expectRevert(IRegistry.EvidenceRejected.selector);
        registry.proveDoubleVote(9, vm.addr(NODE_A), vote, vm.addr(NODE_B), other);
    }

    function test_onlyTheMarketSlashes() public {
        vm.expectRevert(IRegistry.NotMarket.selector);
        registry.slash(vm.addr(NODE_A), 3);
    }

    function test_onlyTheOperatorMovesTheEndpoint() public {
        vm.expectRevert(IRegistry.NotOperator.selector);
        registry.setEndpoint(vm.addr(NODE_A), "x");
        vm.prank(operator);
        registry.setEndpoint(vm.addr(NODE_A), "x");
        vm.prank(operator);
        vm.expectRevert(IRegistry.ConfigOutOfBounds.selector);
        registry.setEndpoint(vm.addr(NODE_A), string(new bytes(257)));
    }

    function decide(IRegistry.Decision memory decision) external {
        _decide(decision);
    }

    function proveDoubleVote(uint256 key) external {
        _proveDoubleVote(key);
    }

    function _proveDoubleVote(uint256 key) private {
        bytes memory voteA = _sign65(key, _voteDigest(5, NODE_A));
        bytes memory voteB = _sign65(key, _voteDigest(5, NODE_B));
        registry.proveDoubleVote(5, vm.addr(NODE_A), voteA, vm.addr(NODE_B), voteB);
    }

    function _expectRefused(
        bytes4 selector,
        IRegistry.NodeCertificate memory certificate,
        bytes memory signature,
        uint256 stakeWei
    ) private {
        vm.deal(certificate.operator, 10 ether);
        vm.prank(certificate.operator);
        vm.expectPartialRevert(selector);
        registry.registerNode{value: stakeWei}(certificate, signature, "");
    }

    function _expectUnknown(IRegistry.Decision memory decision) private {
        vm.expectRevert(IRegistry.DecisionUnknown.selector);
        this.decide(decision);
    }

    function _enact(uint8 kind, bytes32 subject, uint256 value) private {
        IRegistry.Decision memory decision = _decision(kind, subject, value);
        uint256[] memory keys = new uint256[](2);
        (keys[0], keys[1]) = (BUILDER_1, BUILDER_2);
        if (registry.threshold() == 3) {
            keys = new uint256[](3);
            (keys[0], keys[1], keys[2]) = (BUILDER_1, BUILDER_2, BUILDER_3);
        }
        registry.decide(decision, _signAscending(keys, _decisionDigest(decision)));
        vm.warp(START + 30 days * (registry.round() + 1));
        registry.enact(decision);
    }

    function _expectBounds(uint8 kind, uint256 value) private {
        IRegistry.Decision memory decision = _decision(kind, bytes32(value), value);
        _decide(decision);
        vm.warp(START + DELAY);
        vm.expectRevert(IRegistry.ConfigOutOfBounds.selector);
        registry.enact(decision);
        vm.warp(START);
    }

    function _signedBy(uint256 key, bytes32 digest) private pure returns (bytes[] memory signatures) {
        signatures = new bytes[](1);
        signatures[0] = _sign65(key, digest);
    }

    function _revocationDigest(uint256 key) private view returns (bytes32) {
        return _registryDigest(keccak256(abi.encode(keccak256("NodeRevocation(address node)"), vm.addr(key))));
    }
}
