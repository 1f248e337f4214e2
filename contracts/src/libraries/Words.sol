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

    /// Of a payee: the most seconds that its offer allows; 0 is no limit.
    function secondsAllowed(uint256 rates) internal pure returns (uint256) {
        return uint32(rates);
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

    function slots(uint256 times) internal pure returns (uint256) {
        return uint8(times >> 104);
    }

    /// Bits 0: started, 1: cancelled.
    function state(uint256 times) internal pure returns (uint256) {
        return uint8(times >> 96);
    }

    function withState(uint256 times, uint256 bits) internal pure returns (uint256) {
        return times | bits << 96;
    }

    function withOpenedAt(uint256 times, uint256 openedAt_) internal pure returns (uint256) {
        return times & ~(uint256(type(uint40).max) << 176) | openedAt_ << 176;
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

    /// Where a list's words begin in the calldata.
    function begin(uint256[] calldata words) internal pure returns (uint256 offset) {
        assembly ("memory-safe") {
            offset := words.offset
        }
    }

    /// The two words that begin there in the calldata.
    function pairAt(uint256 offset) internal pure returns (uint256 first, uint256 second) {
        assembly ("memory-safe") {
            first := calldataload(offset)
            second := calldataload(add(offset, 0x20))
        }
    }

    /// A copy of the offer whose six words begin there in the calldata.
    function offerAt(uint256 offset) internal pure returns (uint256[6] memory words) {
        assembly ("memory-safe") {
            calldatacopy(words, offset, 0xc0)
        }
    }

    function triple(address account, uint256 middle, uint256 low) internal pure returns (uint256) {
        return uint256(uint160(account)) << 96 | middle << 48 | low;
    }

    /// Do the fence and what is kept of a runner suffice to accept an assignment (each 160, 48, 48 bits)? There
    /// is a leader, its term is the assignment's, the runner has an operator, is not past its time, and no
    /// measurement was revoked since it was registered; the last revision vouches for nothing.
    function vouchFor(uint256 fence, uint256 runner, uint256 assignment) internal view returns (bool sure) {
        assembly ("memory-safe") {
            let leads := and(gt(shr(96, fence), 0), iszero(shl(208, xor(shr(48, fence), shr(48, assignment)))))
            let runs := and(gt(shr(96, runner), 0), iszero(gt(timestamp(), and(shr(48, runner), 0xffffffffffff))))
            let unrevoked := and(iszero(shl(208, xor(fence, runner))), lt(and(fence, 0xffffffffffff), 0xffff))
            sure := and(and(leads, runs), unrevoked)
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

    /// The same of a head as the caller brought it.
    function commitmentOf(uint256[4] calldata head, uint256[] calldata payees) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, head, 0x80)
            let length := shl(5, payees.length)
            calldatacopy(add(free, 0x80), payees.offset, length)
            hash := keccak256(free, add(0x80, length))
        }
    }
}
