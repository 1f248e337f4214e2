// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../../src/Market.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {ITransparencyLog} from "../../src/interfaces/ITransparencyLog.sol";
import {World} from "../helpers/World.sol";

/// @notice Statements brought where they were not meant for: on a branch of the chain that got another id, at
///         another deployment, and as another kind of statement. What settles, opens, publishes and votes is
///         tried beside its own entry point.
contract ReplayTest is World {
    /// A constant, because the compiler reads `block.chainid` anew wherever it is used.
    uint256 private constant CHAIN = 31_337;

    function test_heartbeatsAndStartsCountOnOneChain() public {
        Draft memory draft = _opened(100);
        bytes32[2] memory heartbeat = _sign(NODE_B, _heartbeatDigest(draft.id, 5));
        bytes32[2] memory begun = _sign(NODE_B, _startDigest(draft.id));
        uint256 assignment = _assignment(NODE_B, 1);
        vm.warp(START + 10);
        vm.chainId(CHAIN + 1);
        bytes32[2] memory leader = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.claim(draft.id, draft.head, draft.payees, assignment, _none(), leader, 5, heartbeat);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.start(draft.id, draft.head, draft.payees, assignment, _none(), leader, begun);
    }

    function test_aNodesWordCountsAsWhatItIsOnly() public {
        Draft memory draft = _opened(100);
        bytes32[2] memory leader = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        bytes32[2] memory reported = _sign(NODE_B, _marketDigest(_reportHash(draft.id, _report(0, 5))));
        bytes32[2] memory begun = _sign(NODE_B, _startDigest(draft.id));
        uint256 assignment = _assignment(NODE_B, 1);
        vm.warp(START + 10);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.claim(draft.id, draft.head, draft.payees, assignment, _none(), leader, 5, reported);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.start(draft.id, draft.head, draft.payees, assignment, _none(), leader, reported);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(draft.id, draft.head, draft.payees, assignment, leader, _report(0, 5), begun);
    }

    function test_aVoucherCountsOnOneChainAndAtOneMarket() public {
        IMarket.Channel memory channel = _funded();
        bytes32[2] memory voucher = _sign(CLIENT, _voucherDigest(channel, 30));
        vm.chainId(CHAIN + 1);
        vm.expectPartialRevert(IMarket.ChannelUnknown.selector);
        market.claimVoucher(channel, 30, voucher);
        vm.chainId(CHAIN);
        Market first = market;
        _deploy();
        vm.expectPartialRevert(IMarket.ChannelUnknown.selector);
        market.claimVoucher(channel, 30, voucher);
        _funded();
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.claimVoucher(channel, 30, voucher);
        first.claimVoucher(channel, 30, voucher);
        assertEq(first.balanceOf(address(0), vm.addr(STATION)), 30);
    }

    function test_consentChangesOnOneChainAndAtOneMarket() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        uint256[] memory words = _words(offer);
        bytes32 typehash = keccak256("OfferRevocation(bytes32 offerId,uint64 fromTime)");
        bytes32 digest = _marketDigest(keccak256(abi.encode(typehash, _offerId(words, 0), uint64(0))));
        bytes memory revocation = _sign65(STATION, digest);
        bytes memory published = _sign65(STATION, _offerId(words, 0));
        vm.chainId(CHAIN + 1);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.revokeOffer(words, 0, revocation);
        vm.chainId(CHAIN);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.revokeOffer(words, 0, published);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.publishOffer(offer, revocation);
        _deploy();
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.revokeOffer(words, 0, revocation);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.publishOffer(offer, published);
    }

    function test_evidenceCountsOnOneChain() public {
        bytes32 orderId = keccak256("order");
        IMarket.SignedReport memory a = _signed(orderId, 1);
        IMarket.SignedReport memory b = _signed(orderId, 2);
        bytes memory vote = _sign65(NODE_B, _voteDigest(9, NODE_A));
        bytes memory other = _sign65(NODE_B, _voteDigest(9, NODE_C));
        vm.chainId(CHAIN + 1);
        vm.expectRevert(IMarket.EvidenceRejected.selector);
        market.proveDoubleReport(orderId, a, b);
        vm.expectRevert(IRegistry.EvidenceRejected.selector);
        registry.proveDoubleVote(9, vm.addr(NODE_A), vote, vm.addr(NODE_C), other);
    }

    function test_certificatesAndDecisionsCountOnOneChainAndAtOneRegistry() public {
        IRegistry.NodeCertificate memory certificate = _certificate(STRANGER);
        bytes memory signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        IRegistry.Decision memory decision = _decision(1, keccak256("other software"), 0);
        uint256[] memory keys = new uint256[](2);
        (keys[0], keys[1]) = (BUILDER_1, BUILDER_2);
        bytes[] memory signatures = _signAscending(keys, _decisionDigest(decision));
        vm.chainId(CHAIN + 1);
        _expectNeither(certificate, signature, decision, signatures);
        vm.chainId(CHAIN);
        _deploy();
        _expectNeither(certificate, signature, decision, signatures);
    }

    function test_aRevocationOfANodeCountsAtOneRegistry() public {
        bytes32 typehash = keccak256("NodeRevocation(address node)");
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _sign65(AUTHORITY, _registryDigest(keccak256(abi.encode(typehash, vm.addr(NODE_B)))));
        _deploy();
        _register(NODE_B);
        vm.expectRevert(IRegistry.SignatureInvalid.selector);
        registry.revokeNode(vm.addr(NODE_B), signatures);
    }

    function test_groupsAndRewardsCountOnOneChain() public {
        IRegistry.Group memory group = IRegistry.Group("goal", 1, 1, new address[](0));
        bytes32 typehash = keccak256("Group(string goalId,uint64 epoch,uint64 term,address[] members)");
        bytes32 hash = keccak256(abi.encode(typehash, keccak256("goal"), group.epoch, group.term, keccak256("")));
        bytes memory signature = _sign65(NODE_A, _registryDigest(hash));
        address[] memory nodes = new address[](1);
        uint32[] memory weights = new uint32[](1);
        (nodes[0], weights[0]) = (vm.addr(NODE_A), 1);
        typehash = keccak256("EpochRewards(uint64 epoch,address[] nodes,uint32[] weights)");
        hash = keccak256(
            abi.encode(typehash, 1, keccak256(abi.encodePacked(nodes)), keccak256(abi.encodePacked(weights)))
        );
        bytes[] memory votes = _signedByNodes(_registryDigest(hash));
        vm.chainId(CHAIN + 1);
        vm.expectRevert(IRegistry.SignatureInvalid.selector);
        registry.formGroup(group, signature);
        vm.expectRevert();
        registry.payRewards(1, nodes, weights, votes);
    }

    function test_aCheckpointCountsOnOneChainAndAtOneLog() public {
        ITransparencyLog.Checkpoint memory checkpoint = ITransparencyLog.Checkpoint(1, keccak256("root"));
        bytes32 typehash = keccak256("Checkpoint(uint64 size,bytes32 root)");
        bytes32 hash = keccak256(abi.encode(typehash, checkpoint));
        bytes32 separator = transparencyLog.domainSeparator();
        bytes memory signature = _sign65(AUTHORITY, keccak256(abi.encodePacked(hex"1901", separator, hash)));
        vm.chainId(CHAIN + 1);
        vm.expectPartialRevert(ITransparencyLog.AuthorityNotApproved.selector);
        transparencyLog.anchor(checkpoint, new bytes32[](0), signature);
        vm.chainId(CHAIN);
        _deploy();
        vm.expectPartialRevert(ITransparencyLog.AuthorityNotApproved.selector);
        transparencyLog.anchor(checkpoint, new bytes32[](0), signature);
    }

    function _expectNeither(
        IRegistry.NodeCertificate memory certificate,
        bytes memory signature,
        IRegistry.Decision memory decision,
        bytes[] memory signatures
    ) private {
        vm.prank(operator);
        vm.expectPartialRevert(IRegistry.AuthorityNotApproved.selector);
        registry.registerNode{value: STAKE}(certificate, signature, "node:1");
        vm.expectRevert();
        registry.decide(decision, signatures);
    }

    function _signed(bytes32 orderId, uint32 used) private view returns (IMarket.SignedReport memory signed) {
        signed.report = _report(0, used);
        signed.signature = _sign(NODE_B, _marketDigest(_reportHash(orderId, signed.report)));
    }

    function _funded() private returns (IMarket.Channel memory channel) {
        channel = IMarket.Channel(client, address(0), vm.addr(STATION), uint40(START + 1 days), 1);
        vm.prank(client);
        market.fundChannel{value: 100}(channel, 100);
    }

    function _voucherDigest(IMarket.Channel memory channel, uint96 cumulativeWei) private view returns (bytes32) {
        bytes32 channelType =
            keccak256("Channel(address consumer,address token,address payee,uint40 expiry,uint64 salt)");
        bytes32 id = _marketDigest(keccak256(abi.encode(channelType, channel)));
        bytes32 typehash = keccak256("Voucher(bytes32 channelId,uint96 cumulativeWei)");
        return _marketDigest(keccak256(abi.encode(typehash, id, cumulativeWei)));
    }

    function _heartbeatDigest(bytes32 orderId, uint32 secondsUsed) private view returns (bytes32) {
        bytes32 typehash = keccak256("Heartbeat(bytes32 orderId,uint32 secondsUsed)");
        return _marketDigest(keccak256(abi.encode(typehash, orderId, secondsUsed)));
    }
}
