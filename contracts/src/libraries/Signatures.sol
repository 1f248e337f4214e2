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
    function recover(bytes32 digest, bytes32[2] calldata signature) internal pure returns (address signer) {
        uint256 vs = uint256(signature[1]);
        uint256 s = vs & type(uint256).max >> 1;
        if (s > S_MAX) return address(0);
        return ecrecover(digest, uint8(27 + (vs >> 255)), signature[0], bytes32(s));
    }
}
