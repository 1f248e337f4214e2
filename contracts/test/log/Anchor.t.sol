// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ITransparencyLog} from "../../src/interfaces/ITransparencyLog.sol";
import {World} from "../helpers/World.sol";

/// @notice Builds an RFC 9162 tree by its recursive definition, to hold the contract's loops against.
contract AnchorTest is World {
    function test_anchorsAndExtends() public {
        for (uint64 size = 1; size < 20; size += 3) {
            (uint64 before,) = transparencyLog.head();
            _anchor(size, before);
            (uint64 anchored, bytes32 root) = transparencyLog.head();
            assertEq(anchored, size);
            assertEq(root, _root(0, size));
        }
    }

    function testFuzz_extendsByItsProofAndByNoOther(uint8 a, uint8 b, uint8 flip) public {
        uint64 first = uint64(bound(a, 1, 60));
        uint64 second = uint64(bound(b, first + 1, 70));
        _anchor(first, 0);
        bytes32[] memory proof = _consistency(first, 0, second, true);
        if (proof.length != 0) {
            proof[flip % proof.length] ^= bytes32(uint256(1));
            _expect(ITransparencyLog.ConsistencyInvalid.selector, second, _root(0, second), proof);
            proof[flip % proof.length] ^= bytes32(uint256(1));
        }
        _expect(ITransparencyLog.ConsistencyInvalid.selector, second, _root(1, second + 1), proof);
        // Another log's own proof: it ends at the new root, but does not begin at the old one.
        bytes32[] memory others = _consistency(first, 1, second + 1, true);
        _expect(ITransparencyLog.ConsistencyInvalid.selector, second, _root(1, second + 1), others);
        _anchor(second, first);
    }

    function testFuzz_includesItsLeavesAndNoOther(uint8 a, uint8 b, uint8 flip) public {
        uint64 size = uint64(bound(a, 1, 70));
        uint64 index = uint64(bound(b, 0, size - 1));
        _anchor(size, 0);
        bytes32[] memory path = _path(index, 0, size);
        assertTrue(transparencyLog.includes(_leaf(index), index, path));
        assertTrue(!transparencyLog.includes(_leaf(index + 1), index, path));
        assertTrue(!transparencyLog.includes(_leaf(index), size, path));
        if (path.length == 0) return;
        path[flip % path.length] ^= bytes32(uint256(1));
        assertTrue(!transparencyLog.includes(_leaf(index), index, path));
    }

    function test_refusesSmallerEqualAndUnsignedRoots() public {
        _anchor(5, 0);
        bytes32[] memory none = new bytes32[](0);
        _expect(ITransparencyLog.CheckpointStale.selector, 5, _root(0, 5), none);
        _expect(ITransparencyLog.CheckpointStale.selector, 4, _root(0, 4), none);
        ITransparencyLog.Checkpoint memory checkpoint = ITransparencyLog.Checkpoint(6, _root(0, 6));
        bytes memory signature = _sign65(STRANGER, _digestOf(checkpoint));
        bytes32[] memory proof = _consistency(5, 0, 6, true);
        vm.expectPartialRevert(ITransparencyLog.AuthorityNotApproved.selector);
        transparencyLog.anchor(checkpoint, proof, signature);
    }

    function test_theFirstRootTakesNoProof() public {
        _expect(ITransparencyLog.ConsistencyInvalid.selector, 3, _root(0, 3), new bytes32[](1));
    }

    function test_refusesProofsThatAreTooLongOrTooShort() public {
        _anchor(6, 0);
        bytes32[] memory proof = _consistency(6, 0, 11, true);
        bytes32[] memory longer = new bytes32[](proof.length + 1);
        bytes32[] memory shorter = new bytes32[](proof.length - 1);
        for (uint256 i; i < proof.length; ++i) {
            longer[i] = proof[i];
            if (i < shorter.length) shorter[i] = proof[i];
        }
        _expect(ITransparencyLog.ConsistencyInvalid.selector, 11, _root(0, 11), longer);
        _expect(ITransparencyLog.ConsistencyInvalid.selector, 11, _root(0, 11), shorter);
        _expect(ITransparencyLog.ConsistencyInvalid.selector, 11, _root(0, 11), new bytes32[](0));
    }

    function _anchor(uint64 size, uint64 from) private {
        ITransparencyLog.Checkpoint memory checkpoint = ITransparencyLog.Checkpoint(size, _root(0, size));
        bytes32[] memory proof = from == 0 ? new bytes32[](0) : _consistency(from, 0, size, true);
        transparencyLog.anchor(checkpoint, proof, _sign65(AUTHORITY, _digestOf(checkpoint)));
    }

    function _expect(bytes4 selector, uint64 size, bytes32 root, bytes32[] memory proof) private {
        ITransparencyLog.Checkpoint memory checkpoint = ITransparencyLog.Checkpoint(size, root);
        bytes memory signature = _sign65(AUTHORITY, _digestOf(checkpoint));
        vm.expectPartialRevert(selector);
        transparencyLog.anchor(checkpoint, proof, signature);
    }

    function _digestOf(ITransparencyLog.Checkpoint memory checkpoint) private view returns (bytes32) {
        bytes32 hash = keccak256(abi.encode(keccak256("Checkpoint(uint64 size,bytes32 root)"), checkpoint));
        return keccak256(abi.encodePacked(hex"1901", transparencyLog.domainSeparator(), hash));
    }

    function _leaf(uint64 index) private pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), index));
    }

    function _root(uint64 from, uint64 to) private pure returns (bytes32) {
        if (to - from == 1) return _leaf(from);
        uint64 middle = from + _split(to - from);
        return sha256(abi.encodePacked(bytes1(0x01), _root(from, middle), _root(middle, to)));
    }

    /// The largest power of two smaller than a size.
    function _split(uint64 size) private pure returns (uint64 half) {
        half = 1;
        while (half * 2 < size) half *= 2;
    }

    /// RFC 9162 §2.1.3.1
    function _path(uint64 index, uint64 from, uint64 to) private pure returns (bytes32[] memory) {
        if (to - from == 1) return new bytes32[](0);
        uint64 middle = from + _split(to - from);
        return index < middle
            ? _append(_path(index, from, middle), _root(middle, to))
            : _append(_path(index, middle, to), _root(from, middle));
    }

    /// RFC 9162 §2.1.4.1
    function _consistency(uint64 size, uint64 from, uint64 to, bool whole) private pure returns (bytes32[] memory) {
        if (size == to - from) return whole ? new bytes32[](0) : _append(new bytes32[](0), _root(from, to));
        uint64 half = _split(to - from);
        return size <= half
            ? _append(_consistency(size, from, from + half, whole), _root(from + half, to))
            : _append(_consistency(size - half, from + half, to, false), _root(from, from + half));
    }

    function _append(bytes32[] memory list, bytes32 last) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }
}
