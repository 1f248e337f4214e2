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
    uint256[] private disposables;

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
        disposables.push(key);
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

    function stakes() external view returns (uint256 sum) {
        uint256[3] memory keys = [NODE_A, NODE_B, NODE_C];
        for (uint256 i; i < 3; ++i) {
            sum += _stakeOf(keys[i]);
        }
        for (uint256 i; i < disposables.length; ++i) {
            sum += _stakeOf(disposables[i]);
        }
    }

    function _stakeOf(uint256 key) private view returns (uint256 stakeWei) {
        (stakeWei,) = registry.stakeOf(vm.addr(key));
    }

    function _disposable(uint8 roles) internal returns (uint256 key) {
        key = uint256(keccak256(abi.encode("disposable", ++salt)));
        IRegistry.NodeCertificate memory certificate = _certificate(key);
        (certificate.roles, certificate.notAfter) = (roles, uint64(block.timestamp + 3650 days));
        _register(certificate, STAKE);
        disposables.push(key);
    }

    function _revoke(uint256 key) internal {
        bytes[] memory signatures = new bytes[](1);
        bytes32 typehash = keccak256("NodeRevocation(address node)");
        signatures[0] = _sign65(AUTHORITY, _registryDigest(keccak256(abi.encode(typehash, vm.addr(key)))));
        registry.revokeNode(vm.addr(key), signatures);
    }
}
