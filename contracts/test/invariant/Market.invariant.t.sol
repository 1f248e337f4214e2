// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../../src/Market.sol";
import {Registry} from "../../src/Registry.sol";
import {TransparencyLog} from "../../src/TransparencyLog.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
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
    TransparencyLog private transparencyLog;

    event log(string line);

    function setUp() public {
        handler = new Handler();
        (address marketAddress, address registryAddress, address logAddress) = handler.contracts();
        (market, registry) = (Market(marketAddress), Registry(registryAddress));
        transparencyLog = TransparencyLog(logAddress);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[38] memory list = [
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
            handler.warp.selector,
            handler.openFor.selector,
            handler.settleSlots.selector,
            handler.start.selector,
            handler.changeConsent.selector,
            handler.depositWithPermit.selector,
            handler.distribute.selector,
            handler.reportAfterRevocation.selector,
            handler.reportTwice.selector,
            handler.decide.selector,
            handler.fundKitty.selector,
            handler.formGroup.selector,
            handler.comeAndGo.selector,
            handler.revoke.selector,
            handler.expire.selector,
            handler.voteTwice.selector,
            handler.anchor.selector,
            handler.refundEarly.selector,
            handler.openAsStranger.selector,
            handler.revokeMeasurement.selector
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
        handler.judgeOrders();
        handler.judgeTerms();
        handler.judgeStanding();
        require(handler.doubleEndings() == 0, "I-3: an order ended twice");
        require(handler.earlyRefunds() == 0, "I-19: an order was refunded before its end");
        require(handler.strangersOrders() == 0, "I-20: somebody else spent a client's balance");
        require(handler.staleEffects() == 0, "I-10: a stale term settled an order");
        require(handler.withoutConsent() == 0, "I-7, I-21: an order opened without consent in force, or was extended beyond it");
        (uint64 size, bytes32 root) = handler.theLog();
        (uint64 anchoredSize, bytes32 anchoredRoot) = transparencyLog.head();
        require(size == anchoredSize && root == anchoredRoot, "I-16: the log's root is another one");
        (uint256 counted, uint256 most) = handler.limited();
        require(counted <= most, "I-8: an offer was used more often than its owner allowed");
    }

    /// I-1: what the market holds is what it owes, to the unit.
    function _theMarketHoldsWhatItOwes() private view {
        uint256 owed = handler.escrowWei() + handler.channelWei();
        address[5] memory parties = handler.parties();
        for (uint256 i; i < parties.length; ++i) {
            owed += market.balanceOf(address(0), parties[i]);
        }
        require(address(market).balance == owed, "I-1: the market holds another amount than it owes");
        uint256 tokens = handler.token().balanceOf(address(market));
        require(
            tokens == market.balanceOf(address(handler.token()), parties[0]),
            "I-1: the market holds another amount of a token than it owes"
        );
    }

    /// I-2: the same for the registry. On the way I-14 and I-23, of each stake.
    function _theRegistryHoldsStakesKittyAndRewards() private view {
        uint256 owed = handler.stakes() + registry.kittyWei() + registry.rewardsOf(handler.parties()[1]);
        require(address(registry).balance == owed, "I-2: the registry holds another amount than it owes");
    }

    /// The handler reaches every entry point with success: otherwise the invariants would hold of less than all.
    function test_everyEntryPointIsReached() public {
        for (uint256 i; i < 600; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            if (i % 36 < 19) _stepOrders(i % 36, seed);
            else _stepOthers(i % 36, seed);
            invariant_all();
        }
        bytes4[40] memory entryPoints = _entryPoints();
        uint256 count;
        for (uint256 i; i < entryPoints.length; ++i) {
            require(handler.reached(entryPoints[i]) > 0, "an entry point was never reached");
            ++count;
        }
        require(count == 40, "an entry point is missing");
        emit log("coverage: 40 of 40 entry points reached with success");
    }

    /// All external functions that change state, but for the two by which the registry alone tells the market.
    function _entryPoints() private view returns (bytes4[40] memory) {
        return [
            market.publishOffer.selector,
            market.revokeOffer.selector,
            market.changeOffer.selector,
            market.enableOffer.selector,
            market.open.selector,
            market.openFor.selector,
            market.start.selector,
            market.settle.selector,
            market.settleSlots.selector,
            market.settleBatch.selector,
            market.claim.selector,
            market.extend.selector,
            market.cancel.selector,
            market.refund.selector,
            market.forfeit.selector,
            market.proveDoubleReport.selector,
            market.proveRevokedReport.selector,
            market.distribute.selector,
            market.fundChannel.selector,
            market.claimVoucher.selector,
            market.closeChannel.selector,
            market.deposit.selector,
            market.depositWithPermit.selector,
            market.withdraw.selector,
            IRegistry.decide.selector,
            IRegistry.enact.selector,
            IRegistry.registerNode.selector,
            IRegistry.setEndpoint.selector,
            IRegistry.revokeNode.selector,
            IRegistry.prune.selector,
            IRegistry.exit.selector,
            IRegistry.releaseStake.selector,
            IRegistry.startTerm.selector,
            IRegistry.payRewards.selector,
            IRegistry.withdrawRewards.selector,
            IRegistry.fundKitty.selector,
            IRegistry.declareGoal.selector,
            IRegistry.formGroup.selector,
            IRegistry.proveDoubleVote.selector,
            transparencyLog.anchor.selector
        ];
    }

    function _stepOrders(uint256 action, uint256 seed) private {
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
        else if (action == 16) handler.openFor(uint96(seed));
        else if (action == 17) handler.settleSlots(uint8(seed), uint32(seed), uint32(seed >> 32));
        else handler.start(seed);
    }

    function _stepOthers(uint256 action, uint256 seed) private {
        if (action == 19) handler.changeConsent(uint64(seed));
        else if (action == 20) handler.depositWithPermit(uint96(seed));
        else if (action == 21) handler.distribute(uint96(seed) % 1 ether);
        else if (action == 22) handler.reportAfterRevocation();
        else if (action == 23) handler.reportTwice(bytes32(seed));
        else if (action == 24) handler.decide(uint96(seed));
        else if (action == 25) handler.fundKitty(uint96(seed));
        else if (action == 26) handler.formGroup();
        else if (action == 27) handler.comeAndGo();
        else if (action == 28) handler.revoke();
        else if (action == 29) handler.expire();
        else if (action == 30) handler.voteTwice();
        else if (action == 31) handler.anchor(bytes32(seed));
        else if (action == 32) handler.refundEarly(seed);
        else if (action == 33) handler.openAsStranger(uint96(seed), uint8(seed));
        else if (action == 34) handler.revokeMeasurement();
        else handler.warp(uint16(seed));
    }
}
