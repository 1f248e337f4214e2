// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../../src/Market.sol";
import {Registry} from "../../src/Registry.sol";
import {Handler} from "./Handler.sol";

/// @notice INVARIANTS.md, held after every step of any sequence of calls.
contract MarketInvariantTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler private handler;
    Market private market;
    Registry private registry;

    function setUp() public {
        handler = new Handler();
        (address marketAddress, address registryAddress) = handler.contracts();
        (market, registry) = (Market(marketAddress), Registry(registryAddress));
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[19] memory list = [
            handler.open.selector,
            handler.open.selector,
            handler.settle.selector,
            handler.settleBatch.selector,
            handler.settleAgain.selector,
            handler.settleWithStaleTerm.selector,
            handler.claim.selector,
            handler.extend.selector,
            handler.cancel.selector,
            handler.refund.selector,
            handler.withdraw.selector,
            handler.fundChannel.selector,
            handler.claimVoucher.selector,
            handler.closeChannel.selector,
            handler.startTerm.selector,
            handler.renew.selector,
            handler.payRewards.selector,
            handler.warp.selector,
            handler.warp.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        targets[0].selectors = new bytes4[](list.length);
        for (uint256 i; i < list.length; ++i) {
            targets[0].selectors[i] = list[i];
        }
    }

    /// One function, so that each sequence of calls is run once for all of them.
    function invariant_all() public view {
        _theMarketHoldsWhatItOwes();
        _theRegistryHoldsStakesKittyAndRewards();
        require(handler.doubleEndings() == 0, "I-3: an order ended twice");
        require(handler.staleEffects() == 0, "I-4: a stale term settled an order");
        (uint256 counted, uint256 most) = handler.limited();
        require(counted <= most, "I-5: an offer was used more often than its owner allowed");
    }

    /// I-1: what the market holds is what it owes, to the unit.
    function _theMarketHoldsWhatItOwes() private view {
        uint256 owed = handler.escrowWei() + handler.channelWei();
        address[4] memory parties = handler.parties();
        for (uint256 i; i < parties.length; ++i) {
            owed += market.balanceOf(address(0), parties[i]);
        }
        require(address(market).balance == owed, "I-1: the market holds another amount than it owes");
    }

    /// I-2: the same for the registry.
    function _theRegistryHoldsStakesKittyAndRewards() private view {
        uint256 owed = handler.stakes() + registry.kittyWei() + registry.rewardsOf(handler.parties()[1]);
        require(address(registry).balance == owed, "I-2: the registry holds another amount than it owes");
    }

    /// The handler reaches every entry point with success: otherwise the invariants would hold of less than all.
    function test_everyEntryPointIsReached() public {
        for (uint256 i; i < 400; ++i) {
            _step(i % 17, uint256(keccak256(abi.encode(i))));
        }
        bytes4[14] memory entryPoints = [
            market.open.selector,
            market.settle.selector,
            market.settleBatch.selector,
            market.claim.selector,
            market.extend.selector,
            market.cancel.selector,
            market.refund.selector,
            market.withdraw.selector,
            market.deposit.selector,
            market.fundChannel.selector,
            market.claimVoucher.selector,
            registry.startTerm.selector,
            registry.registerNode.selector,
            registry.payRewards.selector
        ];
        for (uint256 i; i < entryPoints.length; ++i) {
            require(handler.reached(entryPoints[i]) > 0, "an entry point was never reached");
        }
    }

    function _step(uint256 action, uint256 seed) private {
        if (action < 3) handler.open(uint96(seed), seed % 2 == 0);
        else if (action == 3) handler.settle(seed, uint8(seed), uint32(seed));
        else if (action == 4) handler.settleBatch(seed);
        else if (action == 5) handler.claim(seed, uint32(seed));
        else if (action == 6) handler.extend(seed, uint16(seed));
        else if (action == 7) handler.cancel(seed);
        else if (action == 8) handler.refund(seed);
        else if (action == 9) handler.withdraw(seed, seed);
        else if (action == 10) handler.fundChannel(uint96(seed | 1));
        else if (action == 11) handler.claimVoucher(seed, uint96(seed));
        else if (action == 12) handler.closeChannel(seed);
        else if (action == 13) handler.startTerm(uint8(seed));
        else if (action == 14) handler.renew(uint8(seed));
        else if (action == 15) handler.payRewards(uint32(seed), uint32(seed >> 32));
        else handler.warp(uint16(seed));
    }
}
