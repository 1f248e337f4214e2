// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Inclusion and consistency in an RFC 9162 Merkle tree over SHA-256, for any contract that needs them.
library MerkleLog {
    /// @notice RFC 9162 §2.1.3.2: is the leaf at `index` part of the tree (size, root)?
    function includes(uint64 size, bytes32 root, bytes32 leafHash, uint64 index, bytes32[] calldata path)
        internal
        view
        returns (bool)
    {
        if (index >= size) return false;
        uint256 fn = index;
        uint256 sn = size - 1;
        bytes32 hash = leafHash;
        for (uint256 i; i < path.length; ++i) {
            if (sn == 0) return false;
            if (fn & 1 == 1 || fn == sn) {
                hash = _node(path[i], hash);
                while (fn & 1 == 0 && fn != 0) (fn, sn) = (fn >> 1, sn >> 1);
            } else {
                hash = _node(hash, path[i]);
            }
            (fn, sn) = (fn >> 1, sn >> 1);
        }
        return sn == 0 && hash == root;
    }

    /// @notice RFC 9162 §2.1.4.2: is the tree (size, root) a beginning of the tree (newSize, newRoot)?
    ///         The empty tree is a beginning of every tree, with an empty proof.
    function extends(uint64 size, bytes32 root, uint64 newSize, bytes32 newRoot, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        if (size == 0) return proof.length == 0;
        if (newSize < size) return false;
        if (newSize == size) return proof.length == 0 && root == newRoot;
        uint256 fn = size - 1;
        uint256 sn = newSize - 1;
        while (fn & 1 == 1) (fn, sn) = (fn >> 1, sn >> 1);
        // A complete subtree is its own first element, which the proof then leaves out.
        bool complete = size & (size - 1) == 0;
        if (proof.length == 0 && !complete) return false;
        bytes32 oldHash = complete ? root : proof[0];
        bytes32 newHash = oldHash;
        for (uint256 i = complete ? 0 : 1; i < proof.length; ++i) {
            if (sn == 0) return false;
            if (fn & 1 == 1 || fn == sn) {
                oldHash = _node(proof[i], oldHash);
                newHash = _node(proof[i], newHash);
                while (fn & 1 == 0 && fn != 0) (fn, sn) = (fn >> 1, sn >> 1);
            } else {
                newHash = _node(newHash, proof[i]);
            }
            (fn, sn) = (fn >> 1, sn >> 1);
        }
        return sn == 0 && oldHash == root && newHash == newRoot;
    }

    /// SHA-256(0x01 ‖ left ‖ right), computed in the scratch space by the precompile at address 2.
    function _node(bytes32 left, bytes32 right) private view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 0x01)
            mstore(add(free, 0x01), left)
            mstore(add(free, 0x21), right)
            if iszero(staticcall(gas(), 2, free, 0x41, 0x00, 0x20)) { revert(0, 0) }
            hash := mload(0x00)
        }
    }
}
