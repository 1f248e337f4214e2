// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../interfaces/IMarket.sol";
import {Words} from "./Words.sol";

/// @notice EIP-712 struct hashes of the market's statements. The hot ones are computed from packed words in
///         scratch memory behind the free pointer, which stays where it is.
library Statements {
    bytes32 internal constant CONTENT_TYPEHASH = keccak256(
        "OfferContent(bytes32 contentDigest,bytes32 sealedDigest,bytes32 headerDigest,bytes32 consentDigest,bytes32 detailsDigest,bytes32 salt)"
    );
    bytes32 internal constant TERMS_TYPEHASH = keccak256(
        "OfferTerms(address token,uint96 fixedWei,uint96 perSecondWei,uint96 bookingWei,uint96 poolMinWei,uint16 shareBps,uint32 secondsMin,uint32 secondsMax,uint32 runsMax,uint64 validUntil,bytes32 accountsRoot)"
    );
    bytes32 internal constant OFFER_TYPEHASH = keccak256(
        "Offer(address owner,uint8 kind,OfferTerms terms,OfferContent content)OfferContent(bytes32 contentDigest,bytes32 sealedDigest,bytes32 headerDigest,bytes32 consentDigest,bytes32 detailsDigest,bytes32 salt)OfferTerms(address token,uint96 fixedWei,uint96 perSecondWei,uint96 bookingWei,uint96 poolMinWei,uint16 shareBps,uint32 secondsMin,uint32 secondsMax,uint32 runsMax,uint64 validUntil,bytes32 accountsRoot)"
    );
    bytes32 internal constant ORDER_TYPEHASH = keccak256(
        "Order(address client,address token,uint96 depositWei,uint96 poolWei,uint96 computeFixedWei,uint96 computePerSecondWei,uint32 secondsMax,uint40 deadline,bytes32[] offers,bytes32 argsDigest,bytes32 recipientDigest,bytes32 goal,uint64 salt,uint8 slots)"
    );
    bytes32 internal constant ASSIGNMENT_TYPEHASH =
        keccak256("Assignment(bytes32 orderId,address node,uint64 term,uint64 epoch)");
    bytes32 internal constant ASSIGNMENT_BATCH_TYPEHASH =
        keccak256("AssignmentBatch(bytes32[] orderIds,address node,uint64 term,uint64 epoch)");
    bytes32 internal constant REPORT_TYPEHASH = keccak256(
        "Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
    );
    bytes32 internal constant REPORT_BATCH_TYPEHASH = keccak256(
        "ReportBatch(Report[] reports)Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
    );

    bytes32 internal constant HEARTBEAT_TYPEHASH = keccak256("Heartbeat(bytes32 orderId,uint32 secondsUsed)");
    bytes32 internal constant START_TYPEHASH = keccak256("Start(bytes32 orderId)");

    bytes32 internal constant SLOTS_ASSIGNMENT_TYPEHASH =
        keccak256("SlotsAssignment(bytes32 orderId,address[] nodes,uint64 term,uint64 epoch)");
    bytes32 internal constant SLOTS_HEARTBEAT_TYPEHASH =
        keccak256("SlotsHeartbeat(bytes32 orderId,uint32 secondsUsed,uint32[] slotSeconds)");
    bytes32 internal constant SLOTS_REPORT_TYPEHASH = keccak256(
        "SlotsReport(Report report,uint32[] slotSeconds)Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
    );

    bytes32 internal constant OFFER_REVOCATION_TYPEHASH =
        keccak256("OfferRevocation(bytes32 offerId,uint64 fromTime)");
    bytes32 internal constant OFFER_CHANGE_TYPEHASH =
        keccak256("OfferChange(bytes32 offerId,bytes32 nextId,uint64 fromTime)");

    bytes32 internal constant CHANNEL_TYPEHASH =
        keccak256("Channel(address consumer,address token,address payee,uint40 expiry,uint64 salt)");
    bytes32 internal constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint96 cumulativeWei)");

    function hashContent(IMarket.OfferContent calldata content) internal pure returns (bytes32) {
        return keccak256(abi.encode(CONTENT_TYPEHASH, content));
    }

    /// @param words the six words of an offer (IMarket.OfferWords)
    function hashOffer(uint256[] calldata words, uint256 offset) internal pure returns (bytes32 hash) {
        bytes32 termsTypehash = TERMS_TYPEHASH;
        bytes32 offerTypehash = OFFER_TYPEHASH;
        assembly ("memory-safe") {
            let at := add(words.offset, shl(5, offset))
            let payee := calldataload(at)
            let rates := calldataload(add(at, 0x20))
            let scope := calldataload(add(at, 0x40))
            let limits := calldataload(add(at, 0x60))
            let amount := 0xffffffffffffffffffffffff
            let free := mload(0x40)
            mstore(free, termsTypehash)
            mstore(add(free, 0x20), shr(96, scope))
            mstore(add(free, 0x40), and(payee, amount))
            mstore(add(free, 0x60), shr(160, rates))
            mstore(add(free, 0x80), and(shr(64, rates), amount))
            mstore(add(free, 0xa0), and(scope, amount))
            mstore(add(free, 0xc0), and(shr(48, rates), 0xffff))
            mstore(add(free, 0xe0), shr(224, limits))
            mstore(add(free, 0x100), and(shr(192, limits), 0xffffffff))
            mstore(add(free, 0x120), and(shr(160, limits), 0xffffffff))
            mstore(add(free, 0x140), and(shr(96, limits), 0xffffffffffffffff))
            mstore(add(free, 0x160), calldataload(add(at, 0x80)))
            let terms := keccak256(free, 0x180)
            mstore(free, offerTypehash)
            mstore(add(free, 0x20), shr(96, payee))
            mstore(add(free, 0x40), and(shr(40, rates), 0xff))
            mstore(add(free, 0x60), terms)
            mstore(add(free, 0x80), calldataload(add(at, 0xa0)))
            hash := keccak256(free, 0xa0)
        }
    }

    function hashAssignment(bytes32 orderId, uint256 assignment) internal pure returns (bytes32) {
        return _hashAssignment(ASSIGNMENT_TYPEHASH, orderId, assignment);
    }

    function hashAssignmentBatch(bytes32 orderIdsHash, uint256 assignment) internal pure returns (bytes32) {
        return _hashAssignment(ASSIGNMENT_BATCH_TYPEHASH, orderIdsHash, assignment);
    }

    function hashReport(bytes32 orderId, IMarket.ReportWords calldata report) internal pure returns (bytes32 hash) {
        bytes32 typehash = REPORT_TYPEHASH;
        assembly ("memory-safe") {
            let result := calldataload(add(report, 0x40))
            let free := mload(0x40)
            mstore(free, typehash)
            mstore(add(free, 0x20), orderId)
            calldatacopy(add(free, 0x40), report, 0x40)
            mstore(add(free, 0x80), shr(64, result))
            mstore(add(free, 0xa0), and(shr(32, result), 0xffffffff))
            mstore(add(free, 0xc0), and(result, 0xffffffff))
            hash := keccak256(free, 0xe0)
        }
    }

    function hashVoucher(bytes32 channelId, uint96 cumulativeWei) internal pure returns (bytes32) {
        return keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, cumulativeWei));
    }

    function hashHeartbeat(bytes32 orderId, uint32 secondsUsed) internal pure returns (bytes32) {
        return keccak256(abi.encode(HEARTBEAT_TYPEHASH, orderId, secondsUsed));
    }

    /// @param more for each further slot its node (160), zero (64), and how long it was attested (32)
    function hashSlotsAssignment(bytes32 orderId, uint256 assignment, uint256[] calldata more)
        internal
        pure
        returns (bytes32)
    {
        bytes32[] memory nodes = new bytes32[](more.length + 1);
        nodes[0] = bytes32(assignment >> 96);
        for (uint256 i; i < more.length; ++i) {
            nodes[i + 1] = bytes32(more[i] >> 96);
        }
        bytes32 nodesHash = keccak256(abi.encodePacked(nodes));
        uint64 term = uint48(assignment >> 48);
        return keccak256(abi.encode(SLOTS_ASSIGNMENT_TYPEHASH, orderId, nodesHash, term, uint48(assignment)));
    }

    function hashSlotsReport(bytes32 reportHash, uint256[] calldata more) internal pure returns (bytes32) {
        return keccak256(abi.encode(SLOTS_REPORT_TYPEHASH, reportHash, _hashSeconds(more)));
    }

    function hashSlotsHeartbeat(bytes32 orderId, uint32 secondsUsed, uint256[] calldata more)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(SLOTS_HEARTBEAT_TYPEHASH, orderId, secondsUsed, _hashSeconds(more)));
    }

    function _hashSeconds(uint256[] calldata more) private pure returns (bytes32) {
        bytes32[] memory secondsUsed = new bytes32[](more.length);
        for (uint256 i; i < more.length; ++i) {
            secondsUsed[i] = bytes32(uint256(uint32(more[i])));
        }
        return keccak256(abi.encodePacked(secondsUsed));
    }

    function hashReportBatch(bytes32[] memory reportHashes) internal pure returns (bytes32) {
        return keccak256(abi.encode(REPORT_BATCH_TYPEHASH, keccak256(abi.encodePacked(reportHashes))));
    }

    function _hashAssignment(bytes32 typehash, bytes32 subject, uint256 assignment)
        private
        pure
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typehash)
            mstore(add(free, 0x20), subject)
            mstore(add(free, 0x40), shr(96, assignment))
            mstore(add(free, 0x60), and(shr(48, assignment), 0xffffffffffff))
            mstore(add(free, 0x80), and(assignment, 0xffffffffffff))
            hash := keccak256(free, 0xa0)
        }
    }
}
