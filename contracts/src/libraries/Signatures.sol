// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Recovers who signed a digest with secp256k1.
library Signatures {
    /// Half of the group order. The upper half holds the second form of each signature, which is refused.
    uint256 private constant S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @notice Recovers from the 65 bytes r ‖ s ‖ v.
    /// @return signer address 0 when the signature is malformed or malleable
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address signer) {
        if (signature.length != 65) return address(0);
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > S_MAX) return address(0);
        return ecrecover(digest, uint8(signature[64]), r, s);
    }

    /// @notice Recovers from the two words r and yParity ‖ s of ERC-2098, which cost less to bring.
    /// @return signer address 0 when the signature is malformed or malleable
    function recover(bytes32 digest, bytes32[2] calldata signature) internal view returns (address signer) {
        uint256 most = S_MAX;
        assembly ("memory-safe") {
            let vs := calldataload(add(signature, 0x20))
            let s := shr(1, shl(1, vs))
            let free := mload(0x40)
            mstore(free, digest)
            mstore(add(free, 0x20), add(27, shr(255, vs)))
            calldatacopy(add(free, 0x40), signature, 0x20)
            mstore(add(free, 0x60), s)
            // The precompile answers with nothing when nobody can have signed: then this word stays 0.
            mstore(0x00, 0)
            pop(staticcall(gas(), 1, free, 0x80, 0x00, 0x20))
            signer := mul(mload(0x00), iszero(gt(s, most)))
        }
    }
}
