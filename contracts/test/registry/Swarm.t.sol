// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {World} from "../helpers/World.sol";

/// @notice Terms, groups, goals and rewards.
contract SwarmTest is World {
    function test_termsOnlyGrow() public {
        _startTerm(7, NODE_B);
        (uint64 term, address leader) = registry.currentTerm();
        assertTrue(term == 7 && leader == vm.addr(NODE_B));
        assertTrue(registry.leaderOf(1) == address(0) && registry.leaderOf(7) == vm.addr(NODE_B));
        vm.expectPartialRevert(IRegistry.TermStale.selector);
        this.startTerm(7, NODE_A);
        vm.expectPartialRevert(IRegistry.TermStale.selector);
        this.startTerm(3, NODE_A);
        vm.expectRevert(IRegistry.ConfigOutOfBounds.selector);
        this.startTerm(uint64(2) ** 48, NODE_A);
    }

    function test_aTermNeedsAMajorityOfDistinctVoters() public {
        uint256[] memory one = new uint256[](1);
        one[0] = NODE_A;
        bytes[] memory votes = _signAscending(one, _voteDigest(2, NODE_A));
        vm.expectPartialRevert(IRegistry.QuorumNotMet.selector);
        registry.startTerm(2, vm.addr(NODE_A), votes);
        bytes[] memory twice = new bytes[](2);
        (twice[0], twice[1]) = (votes[0], votes[0]);
        vm.expectRevert(IRegistry.SignersNotAscending.selector);
        registry.startTerm(2, vm.addr(NODE_A), twice);
        uint256[] memory strangers = new uint256[](2);
        (strangers[0], strangers[1]) = (NODE_A, STRANGER);
        votes = _signAscending(strangers, _voteDigest(2, NODE_A));
        vm.expectPartialRevert(IRegistry.VoterUnknown.selector);
        registry.startTerm(2, vm.addr(NODE_A), votes);
        strangers[0] = NODE_A;
        strangers[1] = NODE_C;
        registry.startTerm(2, vm.addr(NODE_A), _signAscending(strangers, _voteDigest(2, NODE_A)));
    }

    function test_votesAreForOneTermOneCandidateAndOneChain() public {
        bytes[] memory votes = _votes(2, NODE_A);
        vm.expectRevert();
        registry.startTerm(3, vm.addr(NODE_A), votes);
        vm.expectRevert();
        registry.startTerm(2, vm.addr(NODE_B), votes);
        vm.chainId(block.chainid + 1);
        vm.expectRevert();
        registry.startTerm(2, vm.addr(NODE_A), votes);
    }

    function test_aLeaderMustBeAVoter() public {
        bytes[] memory votes = _votes(2, STRANGER);
        vm.expectPartialRevert(IRegistry.VoterUnknown.selector);
        registry.startTerm(2, vm.addr(STRANGER), votes);
    }

    function test_aLeaderThatLeavesVoidsItsTerm() public {
        vm.prank(operator);
        registry.exit(vm.addr(NODE_A));
        (uint64 term, address leader) = registry.currentTerm();
        assertTrue(term == 1 && leader == address(0));
        vm.expectRevert(IRegistry.LeaderVoid.selector);
        registry.authorize(vm.addr(NODE_B), 1);
    }

    function test_groupsNeedTheLeaderTheTermAndAGrowingEpoch() public {
        IRegistry.Group memory group = _group(1, 1);
        registry.formGroup(group, _sign65(NODE_A, _groupDigest(group)));
        (uint64 epoch, uint64 term, bytes32 membersHash) = registry.groupOf(keccak256("compute"));
        assertTrue(epoch == 1 && term == 1);
        assertEq(membersHash, keccak256(abi.encodePacked(group.members)));
        _expectGroup(IRegistry.EpochStale.selector, group, NODE_A);
        _expectGroup(IRegistry.SignatureInvalid.selector, _group(2, 1), NODE_B);
        _expectGroup(IRegistry.TermStale.selector, _group(2, 2), NODE_A);
        group = _group(2, 1);
        group.members[0] = address(5);
        _expectGroup(IRegistry.NodeNotActive.selector, group, NODE_A);
        group.members = new address[](257);
        _expectGroup(IRegistry.ConfigOutOfBounds.selector, group, NODE_A);
        _startTerm(2, NODE_B);
        _expectGroup(IRegistry.TermStale.selector, _group(2, 1), NODE_A);
        vm.prank(operator);
        registry.exit(vm.addr(NODE_B));
        _expectGroup(IRegistry.LeaderVoid.selector, _group(2, 2), NODE_B);
    }

    function test_aGoalBelongsToWhoDeclaredItFirst() public {
        registry.declareGoal("inference", "{}");
        registry.declareGoal("inference", "{1}");
        vm.prank(client);
        vm.expectRevert(IRegistry.NotGoalOwner.selector);
        registry.declareGoal("inference", "{}");
        vm.expectRevert(IRegistry.ConfigOutOfBounds.selector);
        registry.declareGoal("", "{}");
    }

    function test_rewardsShareTheBudgetByWeight() public {
        registry.fundKitty{value: 1 ether}();
        (address[] memory nodes, uint32[] memory weights) = _weights(1, 2, 0);
        registry.payRewards(1, nodes, weights, _rewardVotes(1, nodes, weights));
        uint256 third = uint256(0.5 ether) / 3;
        assertEq(registry.rewardsOf(operator), third + uint256(1 ether) / 3);
        assertEq(registry.kittyWei() + registry.rewardsOf(operator), 1 ether);
        uint256 before = client.balance;
        uint256 owed = registry.rewardsOf(operator);
        vm.prank(operator);
        registry.withdrawRewards(client);
        assertEq(client.balance - before, owed);
        vm.prank(operator);
        vm.expectRevert(IRegistry.NothingOwed.selector);
        registry.withdrawRewards(client);
    }

    function test_rewardsNeedAQuorumAnEpochAndTime() public {
        (address[] memory nodes, uint32[] memory weights) = _weights(1, 1, 1);
        bytes[] memory votes = _rewardVotes(1, nodes, weights);
        bytes[] memory none = new bytes[](0);
        vm.expectPartialRevert(IRegistry.QuorumNotMet.selector);
        registry.payRewards(1, nodes, weights, none);
        registry.payRewards(1, nodes, weights, votes);
        vm.expectPartialRevert(IRegistry.EpochStale.selector);
        registry.payRewards(1, nodes, weights, votes);
        votes = _rewardVotes(2, nodes, weights);
        vm.expectPartialRevert(IRegistry.EpochTooSoon.selector);
        registry.payRewards(2, nodes, weights, votes);
        vm.warp(START + 1 hours);
        registry.payRewards(2, nodes, weights, votes);
    }

    function test_rewardsRefuseMalformedLists() public {
        (address[] memory nodes, uint32[] memory weights) = _weights(0, 0, 0);
        _expectRewards(IRegistry.WeightsInvalid.selector, nodes, weights);
        (nodes, weights) = _weights(1, 1, 1);
        nodes[1] = nodes[0];
        _expectRewards(IRegistry.WeightsInvalid.selector, nodes, weights);
        _expectRewards(IRegistry.WeightsInvalid.selector, nodes, new uint32[](2));
        (nodes, weights) = _weights(1, 1, 1);
        nodes[2] = address(type(uint160).max);
        _expectRewards(IRegistry.NodeBarred.selector, nodes, weights);
    }

    /// Two of its voters are left, and enough; what they signed pays as soon as the revoked node is not in it.
    function test_revokedNodesAreNotRewarded() public {
        bytes32 hash = keccak256(abi.encode(keccak256("NodeRevocation(address node)"), vm.addr(NODE_C)));
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _sign65(AUTHORITY, _registryDigest(hash));
        registry.revokeNode(vm.addr(NODE_C), signatures);
        registry.fundKitty{value: 1 ether}();
        uint256[] memory voters = new uint256[](2);
        (voters[0], voters[1]) = (NODE_A, NODE_B);
        (address[] memory nodes, uint32[] memory weights) = _weights(1, 1, 1);
        bytes[] memory votes = _signAscending(voters, _rewardsDigest(1, nodes, weights));
        vm.expectPartialRevert(IRegistry.NodeBarred.selector);
        registry.payRewards(1, nodes, weights, votes);
        (nodes, weights) = (new address[](1), new uint32[](1));
        (nodes[0], weights[0]) = (vm.addr(NODE_A), 1);
        registry.payRewards(1, nodes, weights, _signAscending(voters, _rewardsDigest(1, nodes, weights)));
        assertEq(registry.rewardsOf(operator), 0.5 ether);
    }

    function startTerm(uint64 term, uint256 leader) external {
        _startTerm(term, leader);
    }

    function _expectGroup(bytes4 selector, IRegistry.Group memory group, uint256 signer) private {
        bytes memory signature = _sign65(signer, _groupDigest(group));
        vm.expectPartialRevert(selector);
        registry.formGroup(group, signature);
    }

    function _group(uint64 epoch, uint64 term) private pure returns (IRegistry.Group memory group) {
        (group.goalId, group.epoch, group.term) = ("compute", epoch, term);
        group.members = new address[](1);
        group.members[0] = vm.addr(NODE_C);
    }

    function _groupDigest(IRegistry.Group memory group) private view returns (bytes32) {
        bytes32 typehash = keccak256("Group(string goalId,uint64 epoch,uint64 term,address[] members)");
        bytes32 members = keccak256(abi.encodePacked(group.members));
        return _registryDigest(
            keccak256(abi.encode(typehash, keccak256(bytes(group.goalId)), group.epoch, group.term, members))
        );
    }

    function _weights(uint32 a, uint32 b, uint32 c)
        private
        pure
        returns (address[] memory nodes, uint32[] memory weights)
    {
        nodes = new address[](3);
        (nodes[0], nodes[1], nodes[2]) = (vm.addr(NODE_A), vm.addr(NODE_B), vm.addr(NODE_C));
        for (uint256 i = 1; i < 3; ++i) {
            for (uint256 j = i; j > 0 && nodes[j] < nodes[j - 1]; --j) {
                (nodes[j], nodes[j - 1]) = (nodes[j - 1], nodes[j]);
            }
        }
        weights = new uint32[](3);
        (weights[0], weights[1], weights[2]) = (a, b, c);
    }

    function _rewardVotes(uint64 epoch, address[] memory nodes, uint32[] memory weights)
        private
        view
        returns (bytes[] memory)
    {
        return _signedByNodes(_rewardsDigest(epoch, nodes, weights));
    }

    function _rewardsDigest(uint64 epoch, address[] memory nodes, uint32[] memory weights)
        private
        view
        returns (bytes32)
    {
        bytes32 typehash = keccak256("EpochRewards(uint64 epoch,address[] nodes,uint32[] weights)");
        bytes32 nodesHash = keccak256(abi.encodePacked(nodes));
        bytes32 weightsHash = keccak256(abi.encodePacked(weights));
        return _registryDigest(keccak256(abi.encode(typehash, epoch, nodesHash, weightsHash)));
    }

    function _expectRewards(bytes4 selector, address[] memory nodes, uint32[] memory weights) private {
        bytes[] memory votes = _rewardVotes(1, nodes, weights);
        vm.expectPartialRevert(selector);
        registry.payRewards(1, nodes, weights, votes);
    }
}
