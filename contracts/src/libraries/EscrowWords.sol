// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../interfaces/IMarket.sol";

/// @notice Packs and reads the words that an open order's slot commits to. Layout: IMarket.Escrow.
library EscrowWords {
    uint256 internal constant BPS_WHOLE = 10_000;

    function packHead(IMarket.Order calldata order) internal view returns (uint256[4] memory head) {
        head[0] = uint256(uint160(order.client)) << 96 | order.depositWei;
        head[1] = uint256(uint160(order.token)) << 96 | order.poolWei;
        head[2] = uint256(order.computeFixedWei) << 160 | uint256(order.computePerSecondWei) << 64
            | uint256(order.secondsMax) << 32;
        head[3] = uint256(order.deadline) << 216 | uint256(uint40(block.timestamp)) << 176;
    }

    function packPayee(address owner, IMarket.OfferTerms calldata terms)
        internal
        pure
        returns (uint256 first, uint256 second)
    {
        first = uint256(uint160(owner)) << 96 | terms.fixedWei;
        second = uint256(terms.perSecondWei) << 160 | uint256(terms.bookingWei) << 64 | uint256(terms.shareBps) << 48;
    }

    function commitment(IMarket.Escrow calldata escrow) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(escrow.head, escrow.payees));
    }

    function client(uint256[4] memory head) internal pure returns (address) {
        return address(uint160(head[0] >> 96));
    }

    function depositWei(uint256[4] memory head) internal pure returns (uint256) {
        return uint96(head[0]);
    }

    function token(uint256[4] memory head) internal pure returns (address) {
        return address(uint160(head[1] >> 96));
    }

    function poolWei(uint256[4] memory head) internal pure returns (uint256) {
        return uint96(head[1]);
    }

    function computeFixedWei(uint256[4] memory head) internal pure returns (uint256) {
        return head[2] >> 160;
    }

    function computePerSecondWei(uint256[4] memory head) internal pure returns (uint256) {
        return uint96(head[2] >> 64);
    }

    function secondsMax(uint256[4] memory head) internal pure returns (uint256) {
        return uint32(head[2] >> 32);
    }

    function secondsPaid(uint256[4] memory head) internal pure returns (uint256) {
        return uint32(head[2]);
    }

    function deadline(uint256[4] memory head) internal pure returns (uint256) {
        return head[3] >> 216;
    }

    function openedAt(uint256[4] memory head) internal pure returns (uint256) {
        return uint40(head[3] >> 176);
    }

    function paidWei(uint256[4] memory head) internal pure returns (uint256) {
        return uint96(head[3]);
    }
}
