// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {ITransparencyLog} from "../../src/interfaces/ITransparencyLog.sol";
import {World} from "../helpers/World.sol";

/// @notice What anybody can do at the registry and the log, with nodes that come and go beside the three that stay.
abstract contract SwarmHandler is World {
    mapping(bytes4 action => uint256) public reached;
    uint256 public escrowWei;
    uint48 internal term = 1;
    uint256 internal leader = NODE_A;
    uint64 internal issuedAt = 1;
    uint32 internal salt;
    uint64 private epoch;
    uint64 private groupEpoch;
    uint64 private logSize;
    bytes32 private logRoot;
    uint48 private revision;
    /// Nodes that came beside the three that stay, and lost their standing in the same step.
    address[] private gone;

    function _config(address market_) internal view override returns (IRegistry.Config memory config) {
        config = super._config(market_);
        (config.delaySeconds, config.exitDelaySeconds) = (60, 120);
    }

    function startTerm(uint8 who) external {
        leader = [NODE_A, NODE_B, NODE_C][who % 3];
        _startTerm(++term, leader);
        ++reached[IRegistry.startTerm.selector];
    }

    function renew(uint8 who) external {
        IRegistry.NodeCertificate memory certificate = _certificate([NODE_A, NODE_B, NODE_C][who % 3]);
        (certificate.issuedAt, certificate.notAfter) = (++issuedAt, uint64(block.timestamp + 3650 days));
        _register(certificate, 0);
        ++reached[IRegistry.registerNode.selector];
    }

    function payRewards(uint32 a, uint32 b) external {
        vm.warp(block.timestamp + 1 hours);
        address[] memory nodes = new address[](2);
        (nodes[0], nodes[1]) = (vm.addr(NODE_A), vm.addr(NODE_C));
        if (nodes[0] > nodes[1]) (nodes[0], nodes[1]) = (nodes[1], nodes[0]);
        uint32[] memory weights = new uint32[](2);
        (weights[0], weights[1]) = (a, uint32(b | 1));
        bytes32 typehash = keccak256("EpochRewards(uint64 epoch,address[] nodes,uint32[] weights)");
        bytes32 hash = keccak256(
            abi.encode(
                typehash, ++epoch, keccak256(abi.encodePacked(nodes)), keccak256(abi.encodePacked(weights))
            )
        );
        registry.payRewards(epoch, nodes, weights, _signedByNodes(_registryDigest(hash)));
        ++reached[IRegistry.payRewards.selector];
        if (registry.rewardsOf(operator) == 0) return;
        vm.prank(operator);
        registry.withdrawRewards(operator);
        ++reached[IRegistry.withdrawRewards.selector];
    }

    function decide(uint96 rewardWei) external {
        IRegistry.Decision memory decision = _decision(12, 0, rewardWei % 1 ether);
        try this.decideOnce(decision) {
            ++reached[IRegistry.decide.selector];
        } catch {}
        vm.warp(block.timestamp + 60);
        registry.enact(decision);
        ++reached[IRegistry.enact.selector];
    }

    function decideOnce(IRegistry.Decision memory decision) external {
        _decide(decision);
    }

    function fundKitty(uint96 amount) external {
        registry.fundKitty{value: amount % 1 ether}();
        ++reached[IRegistry.fundKitty.selector];
    }

    function formGroup() external {
        registry.declareGoal("goal", abi.encode(++groupEpoch));
        ++reached[IRegistry.declareGoal.selector];
        IRegistry.Group memory group = IRegistry.Group("goal", groupEpoch, term, new address[](1));
        group.members[0] = vm.addr(NODE_B);
        bytes32 hash = keccak256(
            abi.encode(
                keccak256("Group(string goalId,uint64 epoch,uint64 term,address[] members)"),
                keccak256("goal"),
                group.epoch,
                group.term,
                keccak256(abi.encodePacked(group.members))
            )
        );
        registry.formGroup(group, _sign65(leader, _registryDigest(hash)));
        ++reached[IRegistry.formGroup.selector];
    }

    /// A node that comes, moves and leaves with its stake.
    function comeAndGo() external {
        uint256 key = _disposable(2);
        vm.prank(operator);
        registry.setEndpoint(vm.addr(key), "elsewhere:1");
        ++reached[IRegistry.setEndpoint.selector];
        vm.prank(operator);
        registry.exit(vm.addr(key));
        ++reached[IRegistry.exit.selector];
        vm.warp(block.timestamp + 120);
        registry.releaseStake(vm.addr(key));
        ++reached[IRegistry.releaseStake.selector];
    }

    function revoke() external {
        _revoke(_disposable(2));
        ++reached[IRegistry.revokeNode.selector];
    }

    function expire() external {
        uint256 key = uint256(keccak256(abi.encode("expires", ++salt)));
        IRegistry.NodeCertificate memory certificate = _certificate(key);
        (certificate.roles, certificate.notAfter) = (2, uint64(block.timestamp));
        _register(certificate, STAKE);
        gone.push(certificate.node);
        vm.warp(block.timestamp + 1);
        registry.prune(vm.addr(key));
        ++reached[IRegistry.prune.selector];
    }

    function voteTwice() external {
        uint256 key = _disposable(3);
        bytes memory first = _sign65(key, _voteDigest(9_999, NODE_A));
        bytes memory second = _sign65(key, _voteDigest(9_999, NODE_B));
        registry.proveDoubleVote(9_999, vm.addr(NODE_A), first, vm.addr(NODE_B), second);
        ++reached[IRegistry.proveDoubleVote.selector];
    }

    /// A log that doubles: its old root is the left half of its new one.
    function anchor(bytes32 half) external {
        if (logSize == 1 << 62) return;
        bytes32[] memory proof = new bytes32[](logSize == 0 ? 0 : 1);
        if (logSize != 0) proof[0] = half;
        logRoot = logSize == 0 ? half : sha256(abi.encodePacked(hex"01", logRoot, half));
        logSize = logSize == 0 ? 1 : 2 * logSize;
        bytes32 typehash = keccak256("Checkpoint(uint64 size,bytes32 root)");
        bytes32 hash = keccak256(
            abi.encodePacked(
                hex"1901", transparencyLog.domainSeparator(), keccak256(abi.encode(typehash, logSize, logRoot))
            )
        );
        transparencyLog.anchor(ITransparencyLog.Checkpoint(logSize, logRoot), proof, _sign65(AUTHORITY, hash));
        ++reached[transparencyLog.anchor.selector];
    }

    function theLog() external view returns (uint64, bytes32) {
        return (logSize, logRoot);
    }

    /// A measurement is approved, a node runs it, and it is revoked: the market then vouches for nobody until the
    /// node registers anew.
    function revokeMeasurement() external {
        bytes32 measurement = keccak256(abi.encode("measurement", ++salt));
        _decide(_decision(1, measurement, 0));
        vm.warp(block.timestamp + 60);
        IRegistry.NodeCertificate memory certificate = _certificate(uint256(measurement) >> 1);
        (certificate.roles, certificate.notAfter) = (3, uint64(block.timestamp + 3650 days));
        certificate.measurement = measurement;
        _register(certificate, STAKE);
        gone.push(certificate.node);
        _decide(_decision(2, measurement, 0));
        ++revision;
        // It can no longer vote, but counts as a voter until somebody says so.
        registry.prune(certificate.node);
        ++reached[IRegistry.decide.selector];
    }

    function stakes() external view returns (uint256 sum) {
        uint256[3] memory keys = [NODE_A, NODE_B, NODE_C];
        for (uint256 i; i < 3; ++i) {
            uint256 stakeWei = _stakeOf(vm.addr(keys[i]));
            require(stakeWei == STAKE, "I-23: a node lost stake without evidence against it");
            sum += stakeWei;
        }
        for (uint256 i; i < gone.length; ++i) {
            uint256 stakeWei = _stakeOf(gone[i]);
            require(stakeWei <= STAKE, "I-14: a stake is more than was put up");
            sum += stakeWei;
        }
    }

    /// I-10: the leader, the term and the epoch are the last ones that were accepted.
    function judgeTerms() external view {
        (uint64 current, address who) = registry.currentTerm();
        require(current == term && who == vm.addr(leader), "I-10: the term is not the last one");
        (uint64 formed,,) = registry.groupOf(keccak256("goal"));
        require(formed == groupEpoch, "I-10: the epoch of the group is not the last one");
        uint256 fence = uint256(vm.load(address(market), bytes32(uint256(3))));
        require(
            fence == uint256(uint160(who)) << 96 | uint256(term) << 48 | revision,
            "I-13: the market's fence is not the registry's"
        );
    }

    /// I-12: whoever lost its standing has none. I-13: the market vouches for nobody whom the registry does not.
    function judgeStanding() external view {
        for (uint256 i; i < gone.length; ++i) {
            require(!registry.isActive(gone[i]), "I-12: a node without standing is active");
            require(!_vouched(gone[i]), "I-13: the market vouches for a node without standing");
        }
        uint256[3] memory keys = [NODE_A, NODE_B, NODE_C];
        for (uint256 i; i < 3; ++i) {
            address node = vm.addr(keys[i]);
            require(!_vouched(node) || registry.isActive(node), "I-13: the market vouches for an inactive node");
        }
    }

    /// What the market's own copy says, of which `runners` is slot 4.
    function _vouched(address node) private view returns (bool) {
        uint256 runner = uint256(vm.load(address(market), keccak256(abi.encode(node, uint256(4)))));
        return runner >> 96 != 0 && block.timestamp <= uint48(runner >> 48) && uint48(runner) == revision;
    }

    function _stakeOf(address node) private view returns (uint256 stakeWei) {
        (stakeWei,) = registry.stakeOf(node);
    }

    function _disposable(uint8 roles) internal returns (uint256 key) {
        key = uint256(keccak256(abi.encode("disposable", ++salt)));
        IRegistry.NodeCertificate memory certificate = _certificate(key);
        (certificate.roles, certificate.notAfter) = (roles, uint64(block.timestamp + 3650 days));
        _register(certificate, STAKE);
        gone.push(certificate.node);
    }

    function _revoke(uint256 key) internal {
        bytes[] memory signatures = new bytes[](1);
        bytes32 typehash = keccak256("NodeRevocation(address node)");
        signatures[0] = _sign65(AUTHORITY, _registryDigest(keccak256(abi.encode(typehash, vm.addr(key)))));
        registry.revokeNode(vm.addr(key), signatures);
    }
}
