// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {World} from "../helpers/World.sol";

contract SettleBatchTest is World {
    function test_settlesEachOrderOfTheBatch() public {
        IMarket.Settlement[] memory items = _items(3);
        _settleBatch(items);
        assertEq(_balance(STATION), 300);
        vm.expectPartialRevert(IMarket.EscrowMismatch.selector);
        this.settleBatch(items);
    }

    function test_refusesAnOrderThatWasNotAssigned() public {
        IMarket.Settlement[] memory items = _items(2);
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assigned(items));
        bytes32 kept = items[1].orderId;
        items[1].orderId = items[0].orderId;
        bytes32[2] memory nodeSignature = _sign(NODE_B, _reported(items));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settleBatch(items, _assignment(NODE_B, 1), leaderSignature, nodeSignature);
        items[1].orderId = kept;
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settleBatch(items, _assignment(NODE_B, 1), leaderSignature, nodeSignature);
    }

    /// Whose other nodes would go unpaid.
    function test_refusesAnOrderWithSeveralSlots() public {
        IMarket.Settlement[] memory items = _items(2);
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        draft.head[3] ^= (uint256(2) << 112) | (uint256(1 ^ 2) << 104);
        _open(draft);
        items[1] = IMarket.Settlement(draft.id, draft.head, draft.payees, _report(0, 0));
        vm.expectRevert(IMarket.SlotsInvalid.selector);
        this.settleBatch(items);
        assertEq(_balance(STATION), 0);
    }

    function settleBatch(IMarket.Settlement[] memory items) external {
        _settleBatch(items);
    }

    function _settleBatch(IMarket.Settlement[] memory items) private {
        bytes32[2] memory leaderSignature = _sign(NODE_A, _assigned(items));
        bytes32[2] memory nodeSignature = _sign(NODE_B, _reported(items));
        market.settleBatch(items, _assignment(NODE_B, 1), leaderSignature, nodeSignature);
    }

    function _items(uint256 count) private returns (IMarket.Settlement[] memory items) {
        items = new IMarket.Settlement[](count);
        uint256[] memory words = _publish(_offer(STATION, 100));
        for (uint256 i; i < count; ++i) {
            Draft memory draft = _draft(words, 100);
            draft.head[3] ^= i << 112;
            _open(draft);
            items[i] = IMarket.Settlement(draft.id, draft.head, draft.payees, _report(0, 0));
        }
    }

    function _assigned(IMarket.Settlement[] memory items) private view returns (bytes32) {
        bytes32[] memory ids = new bytes32[](items.length);
        for (uint256 i; i < items.length; ++i) {
            ids[i] = items[i].orderId;
        }
        bytes32 typehash = keccak256("AssignmentBatch(bytes32[] orderIds,address node,uint64 term,uint64 epoch)");
        bytes32 hash = keccak256(abi.encodePacked(ids));
        return _marketDigest(keccak256(abi.encode(typehash, hash, vm.addr(NODE_B), uint64(1), uint64(1))));
    }

    function _reported(IMarket.Settlement[] memory items) private view returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](items.length);
        for (uint256 i; i < items.length; ++i) {
            hashes[i] = _reportHash(items[i].orderId, items[i].report);
        }
        bytes32 typehash = keccak256(
            "ReportBatch(Report[] reports)Report(bytes32 orderId,bytes32 reportDigest,bytes32 outputDigest,uint8 outcome,uint32 exitCode,uint32 secondsUsed)"
        );
        return _marketDigest(keccak256(abi.encode(typehash, keccak256(abi.encodePacked(hashes)))));
    }
}
