// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Statements} from "./Statements.sol";

/// @notice The stretch of memory on which an order is opened. What all offers share is written once, every word
///         goes where its hash or the event needs it, and is read from there. It lies at a fixed address, so
///         that no pointer need be kept: an order opens before anything else is put into memory. For n offers:
///         0x400  OfferTerms (0x180), afterwards the first part of Order (0x1e0 in all)
///         0x580  Offer (0xa0)
///         0x620  0x1901 ‖ domain separator ‖ struct hash (0x42)
///         0x680  data of OrderOpened: head (0x80), digests (0x60), 0x100, n, the offers' ids (0x20 · n)
///         then   what the order's slot commits to: head (0x80), the offers' payee words (0x40 · n)
library Sheet {
    /// Why an offer's terms refuse an order, bit by bit.
    uint256 internal constant TERMS_INVALID = 1;
    uint256 internal constant EXPIRED = 2;
    uint256 internal constant TOKEN_DIFFERS = 4;
    uint256 internal constant SECONDS_REFUSED = 8;
    uint256 internal constant POOL_TOO_SMALL = 16;

    uint256 private constant SHEET = 0x400;
    uint256 private constant OFFER = 0x580;
    uint256 private constant DIGEST = 0x620;
    uint256 private constant EVENT = 0x680;
    uint256 private constant COUNT = 0x780;
    uint256 private constant IDS = 0x7a0;

    uint256 private constant AMOUNT = 0xffffffffffffffffffffffff;
    /// Bits of an offer's words that nobody signs.
    uint256 private constant RATES_ZERO = 0xffffffffff;
    uint256 private constant LIMITS_ZERO = 0xffffffffffffffffffffffff;

    /// Lays a sheet out. The head gets the time at which the order is opened.
    function begin(bytes32 separator, uint256[4] calldata head, bytes32[3] calldata digests, uint256 count)
        internal
        view
    {
        bytes32 termsTypehash = Statements.TERMS_TYPEHASH;
        bytes32 offerTypehash = Statements.OFFER_TYPEHASH;
        assembly ("memory-safe") {
            // What the compiler keeps for itself begins at 0x80: were it ever to reach this far, nothing would open.
            if gt(mload(0x40), SHEET) { revert(0, 0) }
            mstore(SHEET, termsTypehash)
            mstore(OFFER, offerTypehash)
            mstore(DIGEST, hex"1901")
            mstore(0x622, separator)
            calldatacopy(EVENT, head, 0x60)
            mstore(0x6e0, or(calldataload(add(head, 0x60)), shl(176, timestamp())))
            calldatacopy(0x700, digests, 0x60)
            mstore(0x760, 0x100)
            mstore(COUNT, count)
            let escrow := add(IDS, shl(5, count))
            mcopy(escrow, EVENT, 0x80)
            mstore(0x40, add(add(escrow, 0x80), shl(6, count)))
        }
    }

    /// Where the first offer's id goes; the next ones follow.
    function first() internal pure returns (uint256) {
        return IDS;
    }

    /// The id of the offer whose six words begin there in the calldata. Puts it at the cursor, and the offer's
    /// payee words, with the most seconds that it allows, to those of the order.
    function offerId(uint256 words, uint256 cursor) internal pure returns (bytes32 id) {
        assembly ("memory-safe") {
            let payee := calldataload(words)
            let rates := calldataload(add(words, 0x20))
            let scope := calldataload(add(words, 0x40))
            let limits_ := calldataload(add(words, 0x60))
            mstore(0x420, shr(96, scope))
            mstore(0x440, and(payee, AMOUNT))
            mstore(0x460, shr(160, rates))
            mstore(0x480, and(shr(64, rates), AMOUNT))
            mstore(0x4a0, and(scope, AMOUNT))
            mstore(0x4c0, and(shr(48, rates), 0xffff))
            mstore(0x4e0, shr(224, limits_))
            mstore(0x500, and(shr(192, limits_), 0xffffffff))
            mstore(0x520, and(shr(160, limits_), 0xffffffff))
            mstore(0x540, and(shr(96, limits_), 0xffffffffffffffff))
            mstore(0x560, calldataload(add(words, 0x80)))
            mstore(0x5a0, shr(96, payee))
            mstore(0x5c0, and(shr(40, rates), 0xff))
            mstore(0x5e0, keccak256(SHEET, 0x180))
            mstore(0x600, calldataload(add(words, 0xa0)))
            mstore(0x642, keccak256(OFFER, 0xa0))
            id := keccak256(DIGEST, 0x42)
            mstore(cursor, id)
            // The payee words of offer i lie at IDS + 0x20 · n + 0x80 + 0x40 · i, and the cursor is at IDS + 0x20 · i.
            let passed := sub(cursor, IDS)
            let payees := add(add(cursor, passed), add(0x80, shl(5, mload(COUNT))))
            mstore(payees, payee)
            mstore(add(payees, 0x20), or(rates, mload(0x500)))
        }
    }

    /// Holds the terms of the offer whose id was just taken against the order.
    /// @return refusal the bits of what does not fit
    function judge(uint256 words) internal view returns (uint256 refusal) {
        assembly ("memory-safe") {
            let unsigned := and(calldataload(add(words, 0x20)), RATES_ZERO)
            unsigned := or(unsigned, and(calldataload(add(words, 0x60)), LIMITS_ZERO))
            // bookingWei is part of fixedWei
            refusal := or(gt(unsigned, 0), gt(mload(0x480), mload(0x440)))
            let until := mload(0x540)
            refusal := or(refusal, shl(1, and(gt(until, 0), lt(until, timestamp()))))
            let pool := mload(0x6a0)
            refusal := or(refusal, shl(2, gt(xor(mload(0x420), shr(96, pool)), 0)))
            let wanted := and(shr(32, mload(0x6c0)), 0xffffffff)
            let most := mload(0x500)
            refusal := or(refusal, shl(3, or(lt(wanted, mload(0x4e0)), and(gt(most, 0), gt(wanted, most)))))
            let poor := lt(and(pool, AMOUNT), mload(0x4a0))
            refusal := or(refusal, shl(4, and(gt(mload(0x4c0), 0), poor)))
        }
    }

    /// What the pool and the compute of the order cost at most.
    function computeWei() internal pure returns (uint256 wei_) {
        assembly ("memory-safe") {
            let prices := mload(0x6c0)
            let timed := mul(and(shr(64, prices), AMOUNT), and(shr(32, prices), 0xffffffff))
            let slots := and(shr(104, mload(0x6e0)), 0xff)
            wei_ := add(and(mload(0x6a0), AMOUNT), mul(slots, add(shr(160, prices), timed)))
        }
    }

    /// What the offer whose id was just taken costs at most, but for its share of the pool.
    function offerWei() internal pure returns (uint256 wei_) {
        assembly ("memory-safe") {
            let wanted := and(shr(32, mload(0x6c0)), 0xffffffff)
            wei_ := add(mload(0x440), mul(mload(0x460), wanted))
        }
    }

    /// That offer's share of the pool, in hundredths of a percent.
    function shareBps() internal pure returns (uint256 bps) {
        assembly ("memory-safe") {
            bps := mload(0x4c0)
        }
    }

    /// Not 0 when that offer is for a number of runs or for certain accounts: at most 1.
    function restrictions() internal pure returns (uint256 bits) {
        assembly ("memory-safe") {
            bits := gt(or(mload(0x520), mload(0x560)), 0)
        }
    }

    function limits() internal pure returns (uint256 runsMax, bytes32 accountsRoot) {
        assembly ("memory-safe") {
            runsMax := mload(0x520)
            accountsRoot := mload(0x560)
        }
    }

    function client() internal pure returns (address account) {
        assembly ("memory-safe") {
            account := shr(96, mload(EVENT))
        }
    }

    function depositWei() internal pure returns (uint256 wei_) {
        assembly ("memory-safe") {
            wei_ := and(mload(EVENT), AMOUNT)
        }
    }

    /// The order's id, once all its offers have theirs. Overwrites the statements of the offers.
    function orderId() internal pure returns (bytes32 id) {
        bytes32 typehash = Statements.ORDER_TYPEHASH;
        assembly ("memory-safe") {
            let payer := mload(EVENT)
            let pool := mload(0x6a0)
            let prices := mload(0x6c0)
            let times := mload(0x6e0)
            mstore(SHEET, typehash)
            mstore(0x420, shr(96, payer))
            mstore(0x440, shr(96, pool))
            mstore(0x460, and(payer, AMOUNT))
            mstore(0x480, and(pool, AMOUNT))
            mstore(0x4a0, shr(160, prices))
            mstore(0x4c0, and(shr(64, prices), AMOUNT))
            mstore(0x4e0, and(shr(32, prices), 0xffffffff))
            mstore(0x500, shr(216, times))
            mstore(0x520, keccak256(IDS, shl(5, mload(COUNT))))
            mcopy(0x540, 0x700, 0x60)
            mstore(0x5a0, and(shr(112, times), 0xffffffffffffffff))
            mstore(0x5c0, and(shr(104, times), 0xff))
            mstore(0x642, keccak256(SHEET, 0x1e0))
            id := keccak256(DIGEST, 0x42)
        }
    }

    /// What the order's slot holds from now on.
    function commitment() internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let count := mload(COUNT)
            hash := keccak256(add(IDS, shl(5, count)), add(0x80, shl(6, count)))
        }
    }

    /// Emits `OrderOpened`, whose data lies ready.
    function emitOpened(bytes32 selector, bytes32 id) internal {
        assembly ("memory-safe") {
            log2(EVENT, add(0x120, shl(5, mload(COUNT))), selector, id)
        }
    }
}
