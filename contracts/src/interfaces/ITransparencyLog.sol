// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title  Transparency log: the roots of an append-only log, kept where nobody can fork them.
/// @notice One contract anchors one RFC 9162 Merkle tree (SHA-256). Each new root proves that it extends the
///         last one, so whoever keeps a receipt from any earlier root knows that it still holds.
/// @dev    Checkpoint is EIP-712 under {name: "Cloister Log", version: "1", chainId, verifyingContract: this}
///         and signed by a certification authority of the registry. Storage that proofs rely on: slot 0 holds
///         the root, slot 1 the size.
interface ITransparencyLog {
    struct Checkpoint {
        uint64 size;
        bytes32 root;
    }

    event RootAnchored(uint64 indexed size, bytes32 root);

    error CheckpointStale(uint64 got, uint64 current);
    error ConsistencyInvalid();
    error InclusionInvalid();
    error AuthorityNotApproved(address signer);

    /// @notice Anchors a root. Anybody may bring it.
    /// @param proof     RFC 9162 §2.1.4 consistency proof from the anchored size to the new one; empty at size 0
    /// @param signature of an approved certification authority over `checkpoint`
    function anchor(Checkpoint calldata checkpoint, bytes32[] calldata proof, bytes calldata signature) external;

    /// @notice The anchored root and size.
    function head() external view returns (uint64 size, bytes32 root);

    /// @notice Tells whether a leaf is in the log at the anchored root (RFC 9162 §2.1.3).
    /// @param leafHash SHA-256(0x00 ‖ entry)
    function includes(bytes32 leafHash, uint64 index, bytes32[] calldata path) external view returns (bool);

    function domainSeparator() external view returns (bytes32);
}
