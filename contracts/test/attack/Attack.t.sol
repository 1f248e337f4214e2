// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../../src/Market.sol";
import {Registry} from "../../src/Registry.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {World} from "../helpers/World.sol";
import {BlockingToken, CallingToken, FalseToken, FeeToken, GenerousToken, PermitCallingToken, RebasingToken, SilentToken, StoppingToken, Token} from "./Tokens.sol";

/// @notice Withdraws again while it is being paid.
contract Reenterer {
    Market private immutable MARKET;
    bool public failed;

    constructor(Market market) {
        MARKET = market;
    }

    function withdraw(uint256 amount) external {
        MARKET.withdraw(address(0), address(this), amount);
    }

    receive() external payable {
        try MARKET.withdraw(address(0), address(this), 1) {}
        catch {
            failed = true;
        }
    }
}

/// @notice An operator that asks for its stake and its rewards again while it is being paid.
contract ReentrantOperator {
    Registry private immutable REGISTRY;
    address private node;
    uint256 public refusals;

    constructor(Registry registry) {
        REGISTRY = registry;
    }

    function register(IRegistry.NodeCertificate calldata certificate, bytes calldata signature) external payable {
        node = certificate.node;
        REGISTRY.registerNode{value: msg.value}(certificate, signature, "");
    }

    function exit() external {
        REGISTRY.exit(node);
    }

    function withdrawRewards() external {
        REGISTRY.withdrawRewards(address(this));
    }

    receive() external payable {
        try REGISTRY.releaseStake(node) {}
        catch {
            ++refusals;
        }
        try REGISTRY.withdrawRewards(address(this)) {}
        catch {
            ++refusals;
        }
    }
}

contract AttackTest is World {
    function test_stakesAndRewardsCannotBeReentered() public {
        ReentrantOperator attacker = new ReentrantOperator(registry);
        IRegistry.NodeCertificate memory certificate = _certificate(STRANGER);
        certificate.operator = address(attacker);
        attacker.register{value: STAKE}(certificate, _sign65(AUTHORITY, _certificateDigest(certificate)));
        registry.fundKitty{value: 2 ether}();
        address[] memory nodes = new address[](1);
        uint32[] memory weights = new uint32[](1);
        (nodes[0], weights[0]) = (certificate.node, 1);
        bytes32 typehash = keccak256("EpochRewards(uint64 epoch,address[] nodes,uint32[] weights)");
        bytes32 hash = keccak256(
            abi.encode(typehash, 1, keccak256(abi.encodePacked(nodes)), keccak256(abi.encodePacked(weights)))
        );
        registry.payRewards(1, nodes, weights, _signedByNodes(_registryDigest(hash)));
        uint256 held = address(registry).balance;
        attacker.withdrawRewards();
        assertEq(attacker.refusals(), 2);
        assertEq(held - address(registry).balance, 0.5 ether);
        attacker.exit();
        vm.warp(START + EXIT_DELAY);
        registry.releaseStake(certificate.node);
        assertEq(attacker.refusals(), 4);
        assertEq(held - address(registry).balance, 0.5 ether + uint256(STAKE));
    }

    function test_aTokenThatStopsHoldsUpNoOrderAndNoCoin() public {
        StoppingToken token = new StoppingToken();
        _fund(token, 200);
        Draft memory first = _openedWith(_tokenDraft(address(token), 100));
        Draft memory second = _tokenDraft(address(token), 100);
        second.head[3] ^= 1 << 112;
        second = _openedWith(second);
        Draft memory coin = _opened(50);
        token.stop();
        _settle(first, 0, 0);
        _settle(coin, 0, 0);
        vm.warp(START + 2 days);
        market.refund(second.id, second.head, second.payees);
        assertEq(market.balanceOf(address(token), vm.addr(STATION)), 100);
        assertEq(market.balanceOf(address(token), client), 100);
        vm.prank(vm.addr(STATION));
        market.withdraw(address(0), address(0xbeef), 50);
        assertEq(address(0xbeef).balance, 50);
        vm.prank(client);
        vm.expectRevert();
        market.withdraw(address(token), client, 100);
    }

    function test_aPermitThatCallsBackOpensOneOrderOnly() public {
        PermitCallingToken token = new PermitCallingToken();
        _fund(token, 300);
        Draft memory draft = _tokenDraft(address(token), 100);
        bytes memory signature = _sign65(CLIENT, _orderId(draft));
        bytes memory permit = abi.encode(uint256(100), uint256(0), uint8(27), bytes32(0), bytes32(0));
        bytes memory again = abi.encodeCall(
            market.openFor, (draft.head, draft.digests, draft.offers, new bytes[](0), signature, "")
        );
        token.callBack(address(market), again);
        draft.id = market.openFor(draft.head, draft.digests, draft.offers, new bytes[](0), signature, permit);
        assertTrue(!token.succeeded());
        assertEq(token.balanceOf(address(market)), 100);
        draft.head[3] |= block.timestamp << 176;
        _settle(draft, 0, 0);
        assertEq(market.balanceOf(address(token), vm.addr(STATION)), 100);
    }

    function test_dustOrdersUseUpNoRunsOfAnOfferForCertainAccounts() public {
        IMarket.Offer memory offer = _offer(STATION, 0);
        offer.terms.runsMax = 1;
        offer.terms.accountsRoot = keccak256(bytes.concat(keccak256(abi.encode(vm.addr(ENGINEER)))));
        Draft memory draft = _draft(_publish(offer), 0);
        bytes[] memory proofs = new bytes[](1);
        proofs[0] = abi.encode(bytes(""), new bytes32[](0));
        vm.prank(client);
        vm.expectPartialRevert(IMarket.OfferAccountRefused.selector);
        market.open(draft.head, draft.digests, draft.offers, proofs);
        draft.head[0] = uint256(uint160(vm.addr(ENGINEER))) << 96;
        vm.prank(vm.addr(ENGINEER));
        market.open(draft.head, draft.digests, draft.offers, proofs);
    }

    function test_dustVouchersCostTheirSenderOnly() public {
        IMarket.Channel memory channel =
            IMarket.Channel(client, address(0), vm.addr(STATION), uint40(START + 1 days), 1);
        vm.prank(client);
        bytes32 id = market.fundChannel{value: 3}(channel, 3);
        for (uint96 wei_ = 1; wei_ <= 3; ++wei_) {
            bytes32 typehash = keccak256("Voucher(bytes32 channelId,uint96 cumulativeWei)");
            market.claimVoucher(channel, wei_, _sign(CLIENT, _marketDigest(keccak256(abi.encode(typehash, id, wei_)))));
        }
        assertEq(_balance(STATION), 3);
        bytes32 zero = keccak256(abi.encode(keccak256("Voucher(bytes32 channelId,uint96 cumulativeWei)"), id, 0));
        bytes32[2] memory nothing = _sign(CLIENT, _marketDigest(zero));
        vm.expectPartialRevert(IMarket.VoucherNotNewer.selector);
        market.claimVoucher(channel, 0, nothing);
    }

    function test_withdrawCannotBeReentered() public {
        Reenterer attacker = new Reenterer(market);
        market.deposit{value: 10}(address(0), address(attacker), 10);
        attacker.withdraw(5);
        assertTrue(attacker.failed());
        assertEq(market.balanceOf(address(0), address(attacker)), 5);
        assertEq(address(market).balance, 5);
    }

    function test_aTokenThatCallsBackCountsOnce() public {
        CallingToken token = new CallingToken();
        token.mint(address(this), 100);
        token.mint(address(token), 100);
        token.approve(address(market), 100);
        bytes memory nested = abi.encodeCall(market.deposit, (address(token), address(this), 50));
        token.callBack(address(market), nested);
        market.deposit(address(token), address(this), 100);
        assertTrue(token.called() && !token.succeeded());
        assertEq(market.balanceOf(address(token), address(this)), 100);
    }

    function test_aTokenCannotWithdrawWhileItIsMeasured() public {
        CallingToken token = new CallingToken();
        token.mint(address(this), 100);
        token.approve(address(market), 100);
        market.deposit(address(token), address(token), 50);
        bytes memory nested = abi.encodeCall(market.withdraw, (address(token), address(token), 50));
        token.callBack(address(market), nested);
        market.deposit(address(token), address(this), 50);
        assertTrue(token.called() && !token.succeeded());
        assertEq(token.balanceOf(address(market)), 100);
    }

    function test_aFeeOnTransferCreditsWhatArrivedAndOpensNothing() public {
        FeeToken token = new FeeToken();
        token.mint(address(this), 1000);
        token.approve(address(market), 1000);
        market.deposit(address(token), address(this), 1000);
        assertEq(market.balanceOf(address(token), address(this)), 990);
        Draft memory draft = _tokenDraft(address(token), 1000);
        _fund(token, 1000);
        vm.prank(client);
        vm.expectPartialRevert(IMarket.TransferShort.selector);
        market.open(draft.head, draft.digests, draft.offers, new bytes[](0));
    }

    function test_aGenerousTokenCreditsNoMoreThanWasAskedFor() public {
        GenerousToken token = new GenerousToken();
        token.mint(address(this), 100);
        token.approve(address(market), 100);
        market.deposit(address(token), address(this), 100);
        assertEq(market.balanceOf(address(token), address(this)), 100);
    }

    function test_aTokenThatSaysNoIsRefused() public {
        FalseToken token = new FalseToken();
        vm.expectRevert();
        market.deposit(address(token), address(this), 1);
    }

    function test_aTokenThatReturnsNothingWorks() public {
        SilentToken token = new SilentToken();
        token.mint(address(this), 100);
        market.deposit(address(token), address(this), 100);
        market.withdraw(address(token), client, 100);
        assertEq(token.balanceOf(client), 100);
    }

    function test_anAddressWithoutCodeIsNoToken() public {
        vm.expectRevert();
        market.deposit(address(0xdead), address(this), 1);
    }

    function test_aShrinkingTokenHarmsOnlyItsHolders() public {
        RebasingToken token = new RebasingToken();
        token.mint(address(this), 100);
        token.approve(address(market), 100);
        market.deposit(address(token), address(this), 100);
        market.deposit{value: 7}(address(0), client, 7);
        token.halve(address(market));
        vm.expectRevert();
        market.withdraw(address(token), address(this), 100);
        market.withdraw(address(token), address(this), 50);
        vm.prank(client);
        market.withdraw(address(0), address(0xbeef), 7);
        assertEq(address(0xbeef).balance, 7);
    }

    function test_anOrderIsPaidByAllowanceInOneTransaction() public {
        Token token = new Token();
        _fund(token, 100);
        Draft memory draft = _tokenDraft(address(token), 100);
        vm.prank(client);
        draft.id = market.open(draft.head, draft.digests, draft.offers, new bytes[](0));
        draft.head[3] |= block.timestamp << 176;
        _settle(draft, 0, 0);
        assertEq(market.balanceOf(address(token), vm.addr(STATION)), 100);
        vm.prank(vm.addr(STATION));
        market.withdraw(address(token), vm.addr(STATION), 100);
        assertEq(token.balanceOf(vm.addr(STATION)), 100);
    }

    function test_coinSentWithATokenOrderIsRefused() public {
        Token token = new Token();
        _fund(token, 100);
        Draft memory draft = _tokenDraft(address(token), 100);
        vm.prank(client);
        vm.expectRevert(IMarket.ValueMismatch.selector);
        market.open{value: 100}(draft.head, draft.digests, draft.offers, new bytes[](0));
    }

    function test_selfDealingGainsNothing() public {
        IMarket.Offer memory offer = _offer(CLIENT, 100);
        Draft memory draft = _draft(_publish(offer), 100);
        _open(draft);
        _settle(draft, 0, 0);
        assertEq(_clientBalance(), 100);
    }

    function test_bookingsMakeDustOrdersCostSomething() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        (offer.terms.bookingWei, offer.terms.runsMax) = (20, 2);
        Draft memory draft = _draft(_publish(offer), 100);
        _open(draft);
        vm.warp(START + 2 days);
        market.refund(draft.id, draft.head, draft.payees);
        assertEq(_balance(STATION), 20);
        assertEq(_clientBalance(), 80);
    }

    function test_consentCannotBeFrontRun() public {
        uint256[] memory words = _publish(_offer(STATION, 100));
        Draft memory draft = _draft(words, 100);
        vm.prank(vm.addr(STATION));
        market.revokeOffer(words, 0, "");
        vm.prank(client);
        vm.expectPartialRevert(IMarket.OfferWithdrawn.selector);
        market.open{value: 100}(draft.head, draft.digests, draft.offers, new bytes[](0));
    }

    function test_signaturesForAnotherMarketDoNotCount() public {
        Draft memory draft = _opened(100);
        IMarket.ReportWords memory report = _report(0, 0);
        (bytes32[2] memory leaderSignature, bytes32[2] memory nodeSignature) = _signatures(draft, report);
        _deploy();
        _register(NODE_A);
        _register(NODE_B);
        _register(NODE_C);
        _startTerm(1, NODE_A);
        Draft memory other = _opened(100);
        assertTrue(other.id != draft.id);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(
            other.id, other.head, other.payees, _assignment(NODE_B, 1), leaderSignature, report, nodeSignature
        );
    }

    function test_theSameBlockOrderOfConsentAndOpeningDecides() public {
        uint256[] memory words = _publish(_offer(STATION, 100));
        Draft memory before = _draft(words, 100);
        _open(before);
        vm.prank(vm.addr(STATION));
        market.revokeOffer(words, 0, "");
        _settle(before, 0, 0);
        assertEq(_balance(STATION), 100);
    }

    function test_aSeenAssignmentServesNobodyElse() public {
        Draft memory draft = _opened(100);
        IMarket.ReportWords memory report = _report(0, 0);
        bytes32[2] memory seen = _sign(NODE_A, _assignmentDigest(draft.id, NODE_B, 1));
        bytes32[2] memory thief = _sign(NODE_C, _marketDigest(_reportHash(draft.id, report)));
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(draft.id, draft.head, draft.payees, _assignment(NODE_C, 1), seen, report, thief);
        vm.expectRevert(IMarket.SignatureInvalid.selector);
        market.settle(draft.id, draft.head, draft.payees, _assignment(NODE_B, 1), seen, report, thief);
    }

    function test_whoeverCopiesASettlementPaysTheSameParties() public {
        Draft memory draft = _opened(100);
        vm.prank(vm.addr(STRANGER));
        this.settleFor(draft);
        assertEq(_balance(STATION), 100);
        assertEq(market.balanceOf(address(0), vm.addr(STRANGER)), 0);
    }

    function settleFor(Draft memory draft) external {
        _settle(draft, 0, 0);
    }

    function testFuzz_aBlocksClockPaysNoMoreThanItsDrift(uint8 drift) public {
        IMarket.Offer memory offer = _offer(STATION, 0);
        offer.terms.perSecondWei = 3;
        Draft memory draft = _draft(_publish(offer), 3 * 60);
        _open(draft);
        vm.warp(START + drift % 15);
        _settle(draft, 2, type(uint32).max);
        assertEq(_balance(STATION), 3 * uint256(drift % 15));
    }

    function test_aBlockedRecipientHoldsUpNobody() public {
        BlockingToken token = new BlockingToken();
        token.block_(vm.addr(STATION));
        _fund(token, 100);
        Draft memory draft = _tokenDraft(address(token), 100);
        vm.prank(client);
        draft.id = market.open(draft.head, draft.digests, draft.offers, new bytes[](0));
        draft.head[3] |= block.timestamp << 176;
        _settle(draft, 0, 0);
        assertEq(market.balanceOf(address(token), vm.addr(STATION)), 100);
        vm.prank(vm.addr(STATION));
        vm.expectRevert();
        market.withdraw(address(token), vm.addr(STATION), 100);
        vm.prank(vm.addr(STATION));
        market.withdraw(address(token), address(0xbeef), 100);
        assertEq(token.balanceOf(address(0xbeef)), 100);
    }

    function test_aGrowingTokenOwesNoMoreThanWasPutIn() public {
        RebasingToken token = new RebasingToken();
        token.mint(address(this), 100);
        token.approve(address(market), 100);
        market.deposit(address(token), address(this), 100);
        token.mint(address(market), 900);
        market.withdraw(address(token), address(this), 100);
        vm.expectPartialRevert(IMarket.BalanceTooLow.selector);
        market.withdraw(address(token), address(this), 1);
    }

    function test_oneWhoIsClientOwnerAndOperatorGainsNoReward() public {
        Draft memory draft = _opened(100);
        uint256 kitty = registry.kittyWei();
        _settle(draft, 0, 0);
        assertEq(registry.kittyWei(), kitty);
        assertEq(registry.rewardsOf(operator), 0);
    }

    function test_hugeAmountsAddUp() public {
        vm.deal(client, type(uint96).max);
        Draft memory draft = _opened(type(uint96).max);
        _settle(draft, 0, type(uint32).max);
        assertEq(_balance(STATION), type(uint96).max);
    }

    function test_anOrderForNothingSettles() public {
        Draft memory draft = _opened(0);
        _settle(draft, 0, 0);
        assertEq(_balance(STATION), 0);
    }

    function _tokenDraft(address token, uint96 amount) private returns (Draft memory draft) {
        IMarket.Offer memory offer = _offer(STATION, amount);
        offer.terms.token = token;
        draft = _draft(_publish(offer), amount);
        draft.head[1] = uint256(uint160(token)) << 96;
    }

    function _openedWith(Draft memory draft) private returns (Draft memory) {
        vm.prank(client);
        draft.id = market.open(draft.head, draft.digests, draft.offers, new bytes[](0));
        draft.head[3] |= block.timestamp << 176;
        return draft;
    }

    function _fund(Token token, uint256 amount) private {
        token.mint(client, amount);
        vm.prank(client);
        token.approve(address(market), amount);
    }
}
