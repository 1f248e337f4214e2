// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "./interfaces/IRegistry.sol";
import {ITransparencyLog} from "./interfaces/ITransparencyLog.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Typed} from "./libraries/Typed.sol";

contract TransparencyLog is ITransparencyLog, Typed {
    bytes32 private constant CHECKPOINT_TYPEHASH = keccak256("Checkpoint(uint64 size,bytes32 root)");

    bytes32 private root;
    uint64 private size;

    IRegistry public immutable registry;

    constructor(IRegistry registry_) Typed("Cloister Log") {
        registry = registry_;
    }

    /// @inheritdoc ITransparencyLog
    function anchor(Checkpoint calldata checkpoint, bytes32[] calldata proof, bytes calldata signature) external {
        bytes32 digest = _digest(keccak256(abi.encode(CHECKPOINT_TYPEHASH, checkpoint)));
        address authority = Signatures.recover(digest, signature);
        if (!registry.isAuthority(authority)) revert AuthorityNotApproved(authority);
        if (checkpoint.size <= size) revert CheckpointStale(checkpoint.size, size);
        if (!MerkleLog.extends(size, root, checkpoint.size, checkpoint.root, proof)) revert ConsistencyInvalid();
        (size, root) = (checkpoint.size, checkpoint.root);
        emit RootAnchored(checkpoint.size, checkpoint.root);
    }

    /// @inheritdoc ITransparencyLog
    function head() external view returns (uint64, bytes32) {
        return (size, root);
    }

    /// @inheritdoc ITransparencyLog
    function includes(bytes32 leafHash, uint64 index, bytes32[] calldata path) external view returns (bool) {
        return MerkleLog.includes(size, root, leafHash, index, path);
    }

    function domainSeparator() external view returns (bytes32) {
        return _domainSeparator();
    }
}
