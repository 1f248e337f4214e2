// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {World} from "../helpers/World.sol";

/// @notice deposit, withdraw, splits and payment channels.
contract MoneyTest is World {
    function test_depositsForAnybodyAndPaysOut() public {
        market.deposit{value: 10}(address(0), client, 10);
        vm.prank(client);
        market.withdraw(address(0), vm.addr(STATION), 4);
        assertEq(vm.addr(STATION).balance, 4);
        assertEq(_clientBalance(), 6);
    }

    function test_refusesMoreThanTheBalance() public {
        vm.expectPartialRevert(IMarket.BalanceTooLow.selector);
        market.withdraw(address(0), client, 1);
    }

    function test_refusesCoinThatDoesNotMatch() public {
        vm.expectRevert(IMarket.ValueMismatch.selector);
        market.deposit{value: 1}(address(0), client, 2);
        vm.expectRevert(IMarket.ValueMismatch.selector);
        market.deposit{value: 1}(address(5), client, 1);
    }

    function test_aRecipientThatRefusesCoinHarmsOnlyItself() public {
        market.deposit{value: 10}(address(0), client, 10);
        vm.prank(client);
        vm.expectRevert(IMarket.TransferFailed.selector);
        market.withdraw(address(0), address(this), 10);
        assertEq(_clientBalance(), 10);
    }

    function testFuzz_splitsLoseNothing(uint128 amount, uint16 first) public {
        first = uint16(bound(first, 0, 10_000));
        (address[] memory accounts, uint16[] memory shares) = _shares(first);
        address split = market.splitAddress(accounts, shares);
        vm.deal(address(this), amount);
        market.deposit{value: amount}(address(0), split, amount);
        market.distribute(address(0), accounts, shares);
        uint256 left = market.balanceOf(address(0), split);
        assertEq(_balance(STATION) + _balance(ENGINEER) + left, amount);
        assertEq(_balance(STATION), uint256(amount) * first / 10_000);
        assertTrue(left < 2);
    }

    function test_splitsNest() public {
        (address[] memory accounts, uint16[] memory shares) = _shares(2500);
        address[] memory outer = new address[](2);
        (outer[0], outer[1]) = (market.splitAddress(accounts, shares), operator);
        uint16[] memory halves = new uint16[](2);
        (halves[0], halves[1]) = (5000, 5000);
        market.deposit{value: 800}(address(0), market.splitAddress(outer, halves), 800);
        market.distribute(address(0), outer, halves);
        market.distribute(address(0), accounts, shares);
        assertEq(_balance(STATION), 100);
        assertEq(_balance(ENGINEER), 300);
        assertEq(_operatorBalance(), 400);
    }

    /// A service on a model that was trained on shared data: client and model's split, trainer and data's split,
    /// two owners of data. Whatever comes in, in two instalments, is with somebody or waits in a split.
    function testFuzz_nestedSplitsLoseNothing(uint96 first, uint96 second, uint16 a, uint16 b, uint16 c) public {
        (address[] memory owners, uint16[] memory ofData) = _shares(uint16(bound(c, 0, 10_000)));
        (address[] memory makers, uint16[] memory ofModel) = _shares(uint16(bound(b, 0, 10_000)));
        (makers[0], makers[1]) = (operator, market.splitAddress(owners, ofData));
        (address[] memory service, uint16[] memory ofService) = _shares(uint16(bound(a, 0, 10_000)));
        (service[0], service[1]) = (client, market.splitAddress(makers, ofModel));
        address outer = market.splitAddress(service, ofService);
        vm.deal(address(this), uint256(first) + second);
        for (uint256 i; i < 2; ++i) {
            uint256 amount = i == 0 ? first : second;
            market.deposit{value: amount}(address(0), outer, amount);
            market.distribute(address(0), service, ofService);
            market.distribute(address(0), makers, ofModel);
            market.distribute(address(0), owners, ofData);
        }
        uint256 waiting = market.balanceOf(address(0), outer) + market.balanceOf(address(0), service[1])
            + market.balanceOf(address(0), makers[1]);
        assertTrue(waiting <= 3);
        uint256 paid = _clientBalance() + _operatorBalance() + _balance(STATION) + _balance(ENGINEER);
        assertEq(paid + waiting, uint256(first) + second);
    }

    function test_refusesSharesThatAreNotTheWhole() public {
        (address[] memory accounts, uint16[] memory shares) = _shares(2500);
        shares[0] = 2501;
        vm.expectRevert(IMarket.SplitInvalid.selector);
        market.splitAddress(accounts, shares);
        vm.expectRevert(IMarket.SplitInvalid.selector);
        market.distribute(address(0), accounts, shares);
        vm.expectRevert(IMarket.SplitInvalid.selector);
        market.splitAddress(new address[](1), shares);
        vm.expectRevert(IMarket.SplitInvalid.selector);
        market.splitAddress(new address[](0), new uint16[](0));
    }

    function test_aServicesSplitIsItsOffersSharesAndTheClientsRest() public {
        IMarket.Offer memory offer = _offer(STATION, 0);
        offer.terms.shareBps = 3000;
        Draft memory draft = _draft(_publish(offer), 0);
        (address split, address[] memory accounts, uint16[] memory shares) =
            market.serviceSplit(draft.head, draft.payees);
        assertEq(split, market.splitAddress(accounts, shares));
        assertTrue(accounts[0] == vm.addr(STATION) && shares[0] == 3000);
        assertTrue(accounts[1] == client && shares[1] == 7000);
    }

    function test_vouchersAreCumulative() public {
        IMarket.Channel memory channel = _funded(100);
        _claim(channel, 30);
        _claim(channel, 75);
        assertEq(_balance(STATION), 75);
        vm.expectPartialRevert(IMarket.VoucherNotNewer.selector);
        this.claim(channel, 75);
        vm.expectPartialRevert(IMarket.VoucherTooHigh.selector);
        this.claim(channel, 101);
    }

    function test_aVoucherIsForOneChannelAndOneConsumer() public {
        IMarket.Channel memory channel = _funded(100);
        bytes32[2] memory forged = _sign(STRANGER, _voucherDigest(channel, 30));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.claimVoucher(channel, 30, forged);
        bytes32[2] memory signature = _sign(CLIENT, _voucherDigest(channel, 30));
        channel.salt = 2;
        vm.expectPartialRevert(IMarket.ChannelUnknown.selector);
        market.claimVoucher(channel, 30, signature);
    }

    function test_closingReturnsTheRestOnceAndKillsOldVouchers() public {
        IMarket.Channel memory channel = _funded(100);
        _claim(channel, 30);
        vm.expectPartialRevert(IMarket.ChannelNotExpired.selector);
        market.closeChannel(channel);
        vm.warp(channel.expiry);
        market.closeChannel(channel);
        assertEq(_clientBalance(), 70);
        vm.expectPartialRevert(IMarket.ChannelUnknown.selector);
        market.closeChannel(channel);
        vm.expectPartialRevert(IMarket.ChannelUnknown.selector);
        this.claim(channel, 50);
        vm.prank(client);
        vm.expectRevert(IMarket.DeadlinePassed.selector);
        market.fundChannel{value: 1}(channel, 1);
    }

    function test_onlyTheConsumerFunds() public {
        IMarket.Channel memory channel = _funded(100);
        vm.expectRevert(IMarket.NotClient.selector);
        market.fundChannel{value: 1}(channel, 1);
        (uint96 depositWei, uint96 claimedWei, bool isOpen) = market.channelState(_channelId(channel));
        assertTrue(depositWei == 100 && claimedWei == 0 && isOpen);
    }

    function test_onlyTheRegistryMovesTheFence() public {
        vm.expectRevert(IMarket.NotRegistry.selector);
        market.setFence(address(this), 9, 0);
        vm.expectRevert(IMarket.NotRegistry.selector);
        market.setRunner(address(this), address(this), 1, 0);
    }

    function claim(IMarket.Channel memory channel, uint96 cumulativeWei) external {
        _claim(channel, cumulativeWei);
    }

    function _claim(IMarket.Channel memory channel, uint96 cumulativeWei) private {
        market.claimVoucher(channel, cumulativeWei, _sign(CLIENT, _voucherDigest(channel, cumulativeWei)));
    }

    function _funded(uint96 amount) private returns (IMarket.Channel memory channel) {
        channel = IMarket.Channel(client, address(0), vm.addr(STATION), uint40(START + 1 days), 1);
        vm.prank(client);
        market.fundChannel{value: amount}(channel, amount);
    }

    function _channelId(IMarket.Channel memory channel) private view returns (bytes32) {
        bytes32 typehash =
            keccak256("Channel(address consumer,address token,address payee,uint40 expiry,uint64 salt)");
        return _marketDigest(keccak256(abi.encode(typehash, channel)));
    }

    function _voucherDigest(IMarket.Channel memory channel, uint96 cumulativeWei) private view returns (bytes32) {
        bytes32 typehash = keccak256("Voucher(bytes32 channelId,uint96 cumulativeWei)");
        return _marketDigest(keccak256(abi.encode(typehash, _channelId(channel), cumulativeWei)));
    }

    function _shares(uint16 first) private pure returns (address[] memory accounts, uint16[] memory shares) {
        accounts = new address[](2);
        (accounts[0], accounts[1]) = (vm.addr(STATION), vm.addr(ENGINEER));
        shares = new uint16[](2);
        (shares[0], shares[1]) = (first, 10_000 - first);
    }
}
