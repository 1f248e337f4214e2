// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../../src/Market.sol";
import {Registry} from "../../src/Registry.sol";
import {TransparencyLog} from "../../src/TransparencyLog.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {ITransparencyLog} from "../../src/interfaces/ITransparencyLog.sol";
import {Vm} from "./Vm.sol";

/// @notice Contracts, three nodes, a leader in term 1, and the signatures of everybody.
abstract contract World {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

    uint256 internal constant START = 1_800_000_000;
    uint256 internal constant NODE_A = 0xA11;
    uint256 internal constant NODE_B = 0xB22;
    uint256 internal constant NODE_C = 0xC33;
    uint256 internal constant AUTHORITY = 0xCA;
    uint256 internal constant BUILDER_1 = 0xB01;
    uint256 internal constant BUILDER_2 = 0xB02;
    uint256 internal constant BUILDER_3 = 0xB03;
    uint256 internal constant CLIENT = 0xC11;
    uint256 internal constant ENGINEER = 0xE61;
    uint256 internal constant STATION = 0x57A;
    uint256 internal constant STRANGER = 0x5712;
    bytes32 internal constant MEASUREMENT = keccak256("measured software");
    uint96 internal constant STAKE = 1 ether;
    uint96 internal constant FORFEIT = 0.1 ether;
    uint32 internal constant DELAY = 7 days;
    uint32 internal constant EXIT_DELAY = 14 days;

    Registry internal registry;
    Market internal market;
    TransparencyLog internal transparencyLog;
    address internal operator = address(0x09E7A704);
    address internal client = vm.addr(CLIENT);

    /// A drafted or an open order and what is needed to end it.
    struct Draft {
        bytes32 id;
        uint256[4] head;
        bytes32[3] digests;
        uint256[] offers;
        uint256[] payees;
    }

    function setUp() public virtual {
        vm.warp(START);
        vm.deal(operator, 1000 ether);
        vm.deal(client, 1_000_000 ether);
        _deploy();
        _register(NODE_A);
        _register(NODE_B);
        _register(NODE_C);
        _startTerm(1, NODE_A);
    }

    function _deploy() internal {
        uint64 nonce = vm.getNonce(address(this));
        registry = new Registry(_config(vm.computeCreateAddress(address(this), nonce + 1)));
        market = new Market(registry);
        transparencyLog = new TransparencyLog(registry);
    }

    function _config(address market_) internal view virtual returns (IRegistry.Config memory config) {
        config.market = market_;
        config.builders = new address[](3);
        (config.builders[0], config.builders[1]) = (vm.addr(BUILDER_1), vm.addr(BUILDER_2));
        config.builders[2] = vm.addr(BUILDER_3);
        (config.threshold, config.revokeThreshold) = (2, 1);
        (config.delaySeconds, config.exitDelaySeconds) = (DELAY, EXIT_DELAY);
        (config.nodeStakeWei, config.forfeitWei, config.rewardWei) = (STAKE, FORFEIT, 0.5 ether);
        config.authorities = new address[](1);
        config.authorities[0] = vm.addr(AUTHORITY);
        config.measurements = new bytes32[](1);
        config.measurements[0] = MEASUREMENT;
    }

    function _certificate(uint256 key) internal view returns (IRegistry.NodeCertificate memory) {
        return IRegistry.NodeCertificate({
            node: vm.addr(key),
            operator: operator,
            keysDigest: keccak256("keys"),
            certificateDigest: keccak256("certificate"),
            measurement: MEASUREMENT,
            roles: 3,
            issuedAt: 1,
            notAfter: uint64(START + 365 days)
        });
    }

    function _register(uint256 key) internal {
        _register(_certificate(key), STAKE);
    }

    function _register(IRegistry.NodeCertificate memory certificate, uint256 stakeWei) internal {
        bytes memory signature = _sign65(AUTHORITY, _certificateDigest(certificate));
        vm.deal(certificate.operator, certificate.operator.balance + stakeWei);
        vm.prank(certificate.operator);
        registry.registerNode{value: stakeWei}(certificate, signature, "node:1");
    }

    function _certificateDigest(IRegistry.NodeCertificate memory certificate) internal view returns (bytes32) {
        bytes32 typehash = keccak256(
            "NodeCertificate(address node,address operator,bytes32 keysDigest,bytes32 certificateDigest,bytes32 measurement,uint8 roles,uint64 issuedAt,uint64 notAfter)"
        );
        return _registryDigest(keccak256(abi.encode(typehash, certificate)));
    }

    function _startTerm(uint64 term, uint256 leader) internal {
        registry.startTerm(term, vm.addr(leader), _votes(term, leader));
    }

    /// Votes of all three nodes, ascending by voter.
    function _votes(uint64 term, uint256 leader) internal view returns (bytes[] memory) {
        return _signedByNodes(_voteDigest(term, leader));
    }

    function _voteDigest(uint64 term, uint256 leader) internal view returns (bytes32) {
        bytes32 typehash = keccak256("Vote(uint64 term,address candidate)");
        return _registryDigest(keccak256(abi.encode(typehash, term, vm.addr(leader))));
    }

    function _signedByNodes(bytes32 digest) internal view returns (bytes[] memory signatures) {
        uint256[] memory keys = new uint256[](3);
        (keys[0], keys[1], keys[2]) = (NODE_A, NODE_B, NODE_C);
        return _signAscending(keys, digest);
    }

    function _signAscending(uint256[] memory keys, bytes32 digest) internal view returns (bytes[] memory signatures) {
        for (uint256 i = 1; i < keys.length; ++i) {
            for (uint256 j = i; j > 0 && vm.addr(keys[j]) < vm.addr(keys[j - 1]); --j) {
                (keys[j], keys[j - 1]) = (keys[j - 1], keys[j]);
            }
        }
        signatures = new bytes[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            signatures[i] = _sign65(keys[i], digest);
        }
    }

    function _decision(uint8 kind, bytes32 subject, uint256 value)
        internal
        view
        returns (IRegistry.Decision memory decision)
    {
        return IRegistry.Decision({kind: kind, subject: subject, value: value, round: registry.round()});
    }

    function _decide(IRegistry.Decision memory decision) internal {
        uint256[] memory keys = new uint256[](2);
        (keys[0], keys[1]) = (BUILDER_1, BUILDER_2);
        registry.decide(decision, _signAscending(keys, _decisionDigest(decision)));
    }

    function _decisionDigest(IRegistry.Decision memory decision) internal view returns (bytes32) {
        bytes32 typehash = keccak256("Decision(uint8 kind,bytes32 subject,uint256 value,uint64 round)");
        return _registryDigest(keccak256(abi.encode(typehash, decision)));
    }

    /// An offer for `fixedWei` and nothing else.
    function _offer(uint256 owner, uint96 fixedWei) internal view returns (IMarket.Offer memory offer) {
        offer.owner = vm.addr(owner);
        offer.kind = 1;
        offer.terms.fixedWei = fixedWei;
        offer.content.contentDigest = keccak256("content");
        offer.content.salt = bytes32(owner);
    }

    function _publish(IMarket.Offer memory offer) internal returns (uint256[] memory words) {
        vm.prank(offer.owner);
        market.publishOffer(offer, "");
        return _words(offer);
    }

    function _words(IMarket.Offer memory offer) internal pure returns (uint256[] memory words) {
        IMarket.OfferTerms memory terms = offer.terms;
        words = new uint256[](6);
        words[0] = uint256(uint160(offer.owner)) << 96 | terms.fixedWei;
        words[1] = uint256(terms.perSecondWei) << 160 | uint256(terms.bookingWei) << 64
            | uint256(terms.shareBps) << 48 | uint256(offer.kind) << 40;
        words[2] = uint256(uint160(terms.token)) << 96 | terms.poolMinWei;
        words[3] = uint256(terms.secondsMin) << 224 | uint256(terms.secondsMax) << 192
            | uint256(terms.runsMax) << 160 | uint256(terms.validUntil) << 96;
        words[4] = uint256(terms.accountsRoot);
        bytes32 typehash = keccak256(
            "OfferContent(bytes32 contentDigest,bytes32 sealedDigest,bytes32 headerDigest,bytes32 consentDigest,bytes32 detailsDigest,bytes32 salt)"
        );
        words[5] = uint256(keccak256(abi.encode(typehash, offer.content)));
    }

    function _join(uint256[] memory a, uint256[] memory b) internal pure returns (uint256[] memory joined) {
        joined = new uint256[](a.length + b.length);
        for (uint256 i; i < a.length; ++i) {
            joined[i] = a[i];
        }
        for (uint256 i; i < b.length; ++i) {
            joined[a.length + i] = b[i];
        }
    }

    /// An order of the client on offers, good for a day, with 60 seconds of compute at most.
    function _draft(uint256[] memory offers, uint96 depositWei) internal view returns (Draft memory draft) {
        draft.head[0] = uint256(uint160(client)) << 96 | depositWei;
        draft.head[2] = uint256(60) << 32;
        draft.head[3] = (block.timestamp + 1 days) << 216 | uint256(uint64(uint256(keccak256(abi.encode(offers))))) << 112 | 1 << 104;
        draft.digests[0] = keccak256("args");
        draft.digests[1] = keccak256("recipient");
        draft.offers = offers;
        draft.payees = new uint256[](offers.length / 3);
        for (uint256 i; i < offers.length / 6; ++i) {
            draft.payees[2 * i] = offers[6 * i];
            draft.payees[2 * i + 1] = offers[6 * i + 1] | uint32(offers[6 * i + 3] >> 192);
        }
    }

    /// Opens the draft with coin of the client.
    function _open(Draft memory draft) internal {
        vm.prank(client);
        draft.id = market.open{value: uint96(draft.head[0])}(
            draft.head, draft.digests, draft.offers, new bytes[](0)
        );
        draft.head[3] |= block.timestamp << 176;
    }

    /// A published data offer at `fixedWei` and an open order on it alone.
    function _opened(uint96 fixedWei) internal returns (Draft memory draft) {
        draft = _draft(_publish(_offer(STATION, fixedWei)), fixedWei);
        _open(draft);
    }

    /// The order's id, computed from the structs of the specification.
    function _orderId(Draft memory draft) internal view returns (bytes32) {
        bytes32[] memory ids = new bytes32[](draft.offers.length / 6);
        for (uint256 i; i < ids.length; ++i) {
            ids[i] = _offerId(draft.offers, 6 * i);
        }
        bytes32 typehash = keccak256(
            "Order(address client,address token,uint96 depositWei,uint96 poolWei,uint96 computeFixedWei,uint96 computePerSecondWei,uint32 secondsMax,uint40 deadline,bytes32[] offers,bytes32 argsDigest,bytes32 recipientDigest,bytes32 goal,uint64 salt,uint8 slots)"
        );
        bytes memory first = abi.encode(
            typehash,
            draft.head[0] >> 96,
            draft.head[1] >> 96,
            uint96(draft.head[0]),
            uint96(draft.head[1]),
            draft.head[2] >> 160,
            uint96(draft.head[2] >> 64),
            uint32(draft.head[2] >> 32),
            draft.head[3] >> 216
        );
        bytes32 offersHash = keccak256(abi.encodePacked(ids));
        bytes memory second = abi.encode(
            offersHash, draft.digests, uint64(draft.head[3] >> 112), uint8(draft.head[3] >> 104)
        );
        return _marketDigest(keccak256(bytes.concat(first, second)));
    }

    function _offerId(uint256[] memory words, uint256 at) internal view returns (bytes32) {
        bytes memory amounts = abi.encode(
            keccak256(
                "OfferTerms(address token,uint96 fixedWei,uint96 perSecondWei,uint96 bookingWei,uint96 poolMinWei,uint16 shareBps,uint32 secondsMin,uint32 secondsMax,uint32 runsMax,uint64 validUntil,bytes32 accountsRoot)"
            ),
            words[at + 2] >> 96,
            uint96(words[at]),
            words[at + 1] >> 160,
            uint96(words[at + 1] >> 64),
            uint96(words[at + 2])
        );
        bytes memory limits = abi.encode(
            uint16(words[at + 1] >> 48),
            words[at + 3] >> 224,
            uint32(words[at + 3] >> 192),
            uint32(words[at + 3] >> 160),
            uint64(words[at + 3] >> 96),
            words[at + 4]
        );
        bytes32 typehash = keccak256(
            "Offer(address owner,uint8 kind,OfferTerms terms,OfferContent content)OfferContent(bytes32 contentDigest,bytes32 sealedDigest,bytes32 headerDigest,bytes32 consentDigest,bytes32 detailsDigest,bytes32 salt)OfferTerms(address token,uint96 fixedWei,uint96 perSecondWei,uint96 bookingWei,uint96 poolMinWei,uint16 shareBps,uint32 secondsMin,uint32 secondsMax,uint32 runsMax,uint64 validUntil,bytes32 accountsRoot)"
        );
        bytes32 terms = keccak256(bytes.concat(amounts, limits));
        return _marketDigest(
            keccak256(abi.encode(typehash, words[at] >> 96, uint8(words[at + 1] >> 40), terms, words[at + 5]))
        );
    }

    /// Further slots: ascending nodes with the seconds of each.
    function _more(uint256 nodeA, uint32 secondsA, uint256 nodeB, uint32 secondsB)
        internal
        pure
        returns (uint256[] memory more)
    {
        more = new uint256[](2);
        more[0] = uint256(uint160(vm.addr(nodeA))) << 96 | secondsA;
        more[1] = uint256(uint160(vm.addr(nodeB))) << 96 | secondsB;
        if (more[0] > more[1]) (more[0], more[1]) = (more[1], more[0]);
    }

    function _slotsAssignmentDigest(bytes32 orderId, uint256 node, uint256[] memory more, uint64 term)
        internal
        view
        returns (bytes32)
    {
        address[] memory nodes = new address[](more.length + 1);
        nodes[0] = vm.addr(node);
        for (uint256 i; i < more.length; ++i) {
            nodes[i + 1] = address(uint160(more[i] >> 96));
        }
        bytes32 typehash = keccak256("SlotsAssignment(bytes32 orderId,address[] nodes,uint64 term,uint64 epoch)");
        return _marketDigest(
            keccak256(abi.encode(typehash, orderId, keccak256(abi.encodePacked(nodes)), term, uint64(1)))
        );
    }

    function _slotsReportHash(bytes32 orderId, IMarket.ReportWords memory report, uint256[] memory more)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typehash = keccak256(
            "SlotsReport(Report report,uint32[] slotSeconds)Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
        );
        return keccak256(abi.encode(typehash, _reportHash(orderId, report), _secondsHash(more)));
    }

    function _slotsHeartbeatDigest(bytes32 orderId, uint32 secondsUsed, uint256[] memory more)
        internal
        view
        returns (bytes32)
    {
        bytes32 typehash = keccak256("SlotsHeartbeat(bytes32 orderId,uint32 secondsUsed,uint32[] slotSeconds)");
        return _marketDigest(keccak256(abi.encode(typehash, orderId, secondsUsed, _secondsHash(more))));
    }

    function _startDigest(bytes32 orderId) internal view returns (bytes32) {
        return _marketDigest(keccak256(abi.encode(keccak256("Start(bytes32 orderId)"), orderId)));
    }

    function _secondsHash(uint256[] memory more) private pure returns (bytes32) {
        uint32[] memory list = new uint32[](more.length);
        for (uint256 i; i < more.length; ++i) {
            list[i] = uint32(more[i]);
        }
        return keccak256(abi.encodePacked(list));
    }

    function _none() internal pure returns (uint256[] memory) {
        return new uint256[](0);
    }

    function _assignment(uint256 node, uint48 term) internal pure returns (uint256) {
        return uint256(uint160(vm.addr(node))) << 96 | uint256(term) << 48 | 1;
    }

    function _assignmentDigest(bytes32 orderId, uint256 node, uint64 term) internal view returns (bytes32) {
        bytes32 typehash = keccak256("Assignment(bytes32 orderId,address node,uint64 term,uint64 epoch)");
        return _marketDigest(keccak256(abi.encode(typehash, orderId, vm.addr(node), term, uint64(1))));
    }

    function _report(uint8 outcome, uint32 secondsUsed) internal pure returns (IMarket.ReportWords memory) {
        return IMarket.ReportWords({
            reportDigest: keccak256("report"),
            outputDigest: keccak256("output"),
            result: uint256(outcome) << 64 | uint256(7) << 32 | secondsUsed
        });
    }

    function _reportHash(bytes32 orderId, IMarket.ReportWords memory report) internal pure returns (bytes32) {
        bytes32 typehash = keccak256(
            "Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
        );
        return keccak256(
            abi.encode(
                typehash,
                orderId,
                report.reportDigest,
                report.outputDigest,
                uint8(report.result >> 64),
                uint32(report.result >> 32),
                uint32(report.result)
            )
        );
    }

    function _settle(Draft memory draft, uint8 outcome, uint32 secondsUsed) internal {
        _settleBy(draft, _report(outcome, secondsUsed), NODE_A, NODE_B, 1);
    }

    function _settleBy(
        Draft memory draft,
        IMarket.ReportWords memory report,
        uint256 leader,
        uint256 node,
        uint48 term
    ) internal {
        bytes32[2] memory leaderSignature = _sign(leader, _assignmentDigest(draft.id, node, term));
        bytes32[2] memory nodeSignature = _sign(node, _marketDigest(_reportHash(draft.id, report)));
        market.settle(
            draft.id, draft.head, draft.payees, _assignment(node, term), leaderSignature, report, nodeSignature
        );
    }

    /// Signs without settling: for calls that must fail.
    function _signatures(Draft memory draft, IMarket.ReportWords memory report)
        internal
        view
        returns (bytes32[2] memory leaderSignature, bytes32[2] memory nodeSignature)
    {
        leaderSignature = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        nodeSignature = _sign(NODE_B, _marketDigest(_reportHash(draft.id, report)));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes32[2] memory signature) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        signature[0] = r;
        signature[1] = bytes32(uint256(s) | uint256(v - 27) << 255);
    }

    function _sign65(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _registryDigest(bytes32 hash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", registry.domainSeparator(), hash));
    }

    function _marketDigest(bytes32 hash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", market.domainSeparator(), hash));
    }

    function _balance(uint256 key) internal view returns (uint256) {
        return market.balanceOf(address(0), vm.addr(key));
    }

    function _clientBalance() internal view returns (uint256) {
        return market.balanceOf(address(0), client);
    }

    function _operatorBalance() internal view returns (uint256) {
        return market.balanceOf(address(0), operator);
    }

    function assertEq(uint256 got, uint256 wanted) internal pure {
        require(got == wanted, string.concat("got ", _text(got), ", wanted ", _text(wanted)));
    }

    function assertEq(bytes32 got, bytes32 wanted) internal pure {
        require(got == wanted, "bytes32 differ");
    }

    function assertEq(address got, address wanted) internal pure {
        require(got == wanted, "addresses differ");
    }

    function assertTrue(bool condition) internal pure {
        require(condition, "not true");
    }

    function bound(uint256 value, uint256 min, uint256 max) internal pure returns (uint256) {
        return min + value % (max - min + 1);
    }

    function _text(uint256 value) private pure returns (string memory) {
        if (value == 0) return "0";
        bytes memory digits;
        for (; value != 0; value /= 10) {
            digits = abi.encodePacked(uint8(48 + value % 10), digits);
        }
        return string(digits);
    }
}
