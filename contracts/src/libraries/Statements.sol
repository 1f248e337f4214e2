// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../interfaces/IMarket.sol";

/// @notice EIP-712 struct hashes of the market's statements.
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
        "Order(address client,address token,uint96 depositWei,uint96 poolWei,uint96 computeFixedWei,uint96 computePerSecondWei,uint32 secondsMax,uint40 deadline,bytes32[] offers,bytes32 argsDigest,bytes32 recipientDigest,bytes32 goal,uint64 salt)"
    );
    bytes32 internal constant ASSIGNMENT_TYPEHASH =
        keccak256("Assignment(bytes32 orderId,address node,uint64 term,uint64 epoch)");
    bytes32 internal constant REPORT_TYPEHASH = keccak256(
        "Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
    );

    function hashContent(IMarket.OfferContent calldata content) internal pure returns (bytes32) {
        return keccak256(abi.encode(CONTENT_TYPEHASH, content));
    }

    function hashOffer(address owner, uint8 kind, IMarket.OfferTerms calldata terms, bytes32 content)
        internal
        pure
        returns (bytes32)
    {
        bytes32 termsHash = keccak256(abi.encode(TERMS_TYPEHASH, terms));
        return keccak256(abi.encode(OFFER_TYPEHASH, owner, kind, termsHash, content));
    }

    function hashOrder(IMarket.Order calldata order) internal pure returns (bytes32) {
        return keccak256(
            bytes.concat(
                abi.encode(
                    ORDER_TYPEHASH,
                    order.client,
                    order.token,
                    order.depositWei,
                    order.poolWei,
                    order.computeFixedWei,
                    order.computePerSecondWei
                ),
                abi.encode(
                    order.secondsMax,
                    order.deadline,
                    keccak256(abi.encodePacked(order.offers)),
                    order.argsDigest,
                    order.recipientDigest,
                    order.goal,
                    order.salt
                )
            )
        );
    }

    function hashAssignment(IMarket.Assignment calldata assignment) internal pure returns (bytes32) {
        return keccak256(abi.encode(ASSIGNMENT_TYPEHASH, assignment));
    }

    function hashReport(IMarket.Report calldata report) internal pure returns (bytes32) {
        return keccak256(abi.encode(REPORT_TYPEHASH, report));
    }
}
