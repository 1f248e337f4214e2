// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice EIP-712 domain and digests of one contract. Holds no storage, so that a contract's own slots
///         start at 0, where proofs expect them.
abstract contract Typed {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    bytes32 private immutable NAME_HASH;
    bytes32 private immutable SEPARATOR;
    uint256 private immutable CHAIN_ID;

    constructor(string memory name) {
        NAME_HASH = keccak256(bytes(name));
        CHAIN_ID = block.chainid;
        SEPARATOR = _separator();
    }

    /// @dev Computed anew when the chain split and got another id, so that a signature holds on one branch only.
    function _domainSeparator() internal view returns (bytes32) {
        return block.chainid == CHAIN_ID ? SEPARATOR : _separator();
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return _digestUnder(_domainSeparator(), structHash);
    }

    function _digestUnder(bytes32 separator, bytes32 structHash) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, hex"1901")
            mstore(add(free, 0x02), separator)
            mstore(add(free, 0x22), structHash)
            digest := keccak256(free, 0x42)
        }
    }

    function _separator() private view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, keccak256("1"), block.chainid, address(this)));
    }
}
