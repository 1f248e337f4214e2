// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Reads the packed words of orders, offers and escrows. Layouts: IMarket.
library Words {
    uint256 internal constant BPS_WHOLE = 10_000;
    uint256 internal constant WORDS_PER_OFFER = 6;
    uint256 internal constant WORDS_PER_PAYEE = 2;

    function upperAddress(uint256 word) internal pure returns (address) {
        return address(uint160(word >> 96));
    }

    /// Low 96 bits: depositWei, poolWei, paidWei, fixedWei, poolMinWei.
    function lowerAmount(uint256 word) internal pure returns (uint256) {
        return uint96(word);
    }

    /// High 96 bits: computeFixedWei, perSecondWei.
    function upperAmount(uint256 word) internal pure returns (uint256) {
        return word >> 160;
    }

    /// The 96 bits in the middle: computePerSecondWei, bookingWei.
    function middleAmount(uint256 word) internal pure returns (uint256) {
        return uint96(word >> 64);
    }

    function shareBps(uint256 rates) internal pure returns (uint256) {
        return uint16(rates >> 48);
    }

    function kind(uint256 rates) internal pure returns (uint256) {
        return uint8(rates >> 40);
    }

    function secondsMax(uint256 prices) internal pure returns (uint256) {
        return uint32(prices >> 32);
    }

    function secondsPaid(uint256 prices) internal pure returns (uint256) {
        return uint32(prices);
    }

    function deadline(uint256 times) internal pure returns (uint256) {
        return times >> 216;
    }

    function openedAt(uint256 times) internal pure returns (uint256) {
        return uint40(times >> 176);
    }

    function salt(uint256 times) internal pure returns (uint256) {
        return uint64(times >> 112);
    }

    function withDeadline(uint256 times, uint256 deadline_) internal pure returns (uint256) {
        return times & type(uint216).max | deadline_ << 216;
    }

    function withSecondsMax(uint256 prices, uint256 secondsMax_) internal pure returns (uint256) {
        return prices & ~(uint256(type(uint32).max) << 32) | secondsMax_ << 32;
    }

    /// A word of a list whose length was checked before.
    function at(uint256[] calldata words, uint256 index) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(words.offset, shl(5, index)))
        }
    }

    /// What the slot of an order holds once a report ended it.
    function anchor(bytes32 orderId, bytes32 reportDigest) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0x00, orderId)
            mstore(0x20, reportDigest)
            hash := keccak256(0x00, 0x40)
        }
    }

    /// As `commitment`, with the payee words taken out of the offers' words.
    function commitmentOf(uint256[4] memory head, uint256[] calldata offers) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mcopy(free, head, 0x80)
            let to := add(free, 0x80)
            let end := add(offers.offset, shl(5, offers.length))
            for { let from := offers.offset } lt(from, end) { from := add(from, 0xc0) } {
                calldatacopy(to, from, 0x40)
                to := add(to, 0x40)
            }
            hash := keccak256(free, sub(to, free))
        }
    }

    /// What an open order's slot holds: keccak256 of the four words of the head and those of the payees.
    function commitment(uint256[4] memory head, uint256[] calldata payees) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mcopy(free, head, 0x80)
            let length := shl(5, payees.length)
            calldatacopy(add(free, 0x80), payees.offset, length)
            hash := keccak256(free, add(0x80, length))
        }
    }
}
