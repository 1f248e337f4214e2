// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {World} from "../helpers/World.sol";

contract OpenTest is World {
    function test_opensAndCommitsToTheWords() public {
        Draft memory draft = _opened(100);
        assertEq(market.anchorOf(draft.id), keccak256(abi.encodePacked(draft.head, draft.payees)));
        assertEq(address(market).balance, 100);
    }

    function test_theSlotIsWhereProofsExpectIt() public {
        Draft memory draft = _opened(100);
        bytes32 slot = keccak256(abi.encode(draft.id, uint256(0)));
        assertEq(vm.load(address(market), slot), market.anchorOf(draft.id));
    }

    function test_refusesTheSameOrderTwice() public {
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        Draft memory again = _draft(draft.offers, 100);
        _open(draft);
        _expect(IMarket.OrderExists.selector, again, "");
    }

    function test_onlyTheClientOpens() public {
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        vm.expectRevert(IMarket.NotClient.selector);
        market.open{value: 0}(draft.head, draft.digests, draft.offers, new bytes[](0));
    }

    function test_refusesWordsThatOnlyTheContractSets() public {
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        uint256 clean = draft.head[3];
        draft.head[3] = clean | 1;
        _expect(IMarket.WordsInvalid.selector, draft, "");
        draft.head[3] = clean | 1 << 176;
        _expect(IMarket.WordsInvalid.selector, draft, "");
        draft.head[3] = clean | 1 << 96;
        _expect(IMarket.WordsInvalid.selector, draft, "");
        draft.head[3] = clean;
        draft.head[2] |= 1;
        _expect(IMarket.WordsInvalid.selector, draft, "");
    }

    function test_refusesAnOrderWithoutSlots() public {
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        draft.head[3] ^= 1 << 104;
        _expect(IMarket.SlotsInvalid.selector, draft, "");
    }

    function test_theIdIsTheStructsDigest() public {
        Draft memory draft = _opened(100);
        draft.head[3] ^= block.timestamp << 176;
        assertEq(draft.id, _orderId(draft));
    }

    function test_refusesBitsOfAnOfferThatNobodySigned() public {
        uint256[] memory words = _publish(_offer(STATION, 100));
        words[1] |= 1;
        _expect(IMarket.OfferTermsInvalid.selector, _draft(words, 100), "");
        words[1] ^= 1;
        words[3] |= 1;
        _expect(IMarket.OfferTermsInvalid.selector, _draft(words, 100), "");
    }

    /// Otherwise an order that comes to nothing would cost more than its deposit.
    function test_refusesASignedOfferWhoseBookingExceedsItsPrice() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.bookingWei = 101;
        uint256[] memory words = _words(offer);
        bytes[] memory proofs = new bytes[](1);
        proofs[0] = abi.encode(_sign65(STATION, _offerId(words, 0)), new bytes32[](0));
        Draft memory draft = _draft(words, 101);
        vm.prank(client);
        vm.expectRevert(IMarket.OfferTermsInvalid.selector);
        market.open{value: 101}(draft.head, draft.digests, draft.offers, proofs);
    }

    function test_refusesAnOfferThatNobodyMade() public {
        _expect(IMarket.OfferNotAuthorized.selector, _draft(_words(_offer(STATION, 100)), 100), "");
        uint256[] memory words = _publish(_offer(STATION, 100));
        words[0] -= 1;
        _expect(IMarket.OfferNotAuthorized.selector, _draft(words, 100), "");
    }

    function test_acceptsASignatureInPlaceOfPublication() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        bytes32 id = _publishedId(offer);
        offer.content.salt = "another";
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        _openWith(offer, _sign65(STATION, id), new bytes32[](0));
        offer = _offer(ENGINEER, 100);
        uint256[] memory words = _words(offer);
        bytes32 offerId = _hash(offer);
        Draft memory draft = _draft(words, 100);
        bytes[] memory proofs = new bytes[](1);
        proofs[0] = abi.encode(_sign65(ENGINEER, offerId), new bytes32[](0));
        vm.prank(client);
        market.open{value: 100}(draft.head, draft.digests, draft.offers, proofs);
    }

    function test_countsRunsAndRefusesTheNext() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.runsMax = 2;
        uint256[] memory words = _publish(offer);
        for (uint256 i; i < 2; ++i) {
            Draft memory draft = _draft(words, 100);
            draft.head[3] ^= i << 112;
            _open(draft);
        }
        Draft memory third = _draft(words, 100);
        third.head[3] ^= 2 << 112;
        _expect(IMarket.OfferRunsExhausted.selector, third, "");
    }

    function test_runsAreNotGivenBackByARefund() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.runsMax = 1;
        uint256[] memory words = _publish(offer);
        Draft memory draft = _draft(words, 100);
        _open(draft);
        vm.warp(START + 2 days);
        market.refund(draft.id, draft.head, draft.payees);
        _expect(IMarket.OfferRunsExhausted.selector, _draft(words, 100), "");
    }

    function test_refusesARevokedOfferFromTheMomentOn() public {
        uint256[] memory words = _publish(_offer(STATION, 100));
        vm.prank(vm.addr(STATION));
        market.revokeOffer(words, uint64(START + 10), "");
        _open(_draft(words, 100));
        vm.warp(START + 10);
        _expect(IMarket.OfferWithdrawn.selector, _draft(words, 101), "");
    }

    function test_aRevokedOfferIsRefusedEvenWithAFreshSignature() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        vm.prank(vm.addr(STATION));
        market.revokeOffer(_words(offer), 0, "");
        bytes memory signature = _sign65(STATION, _hash(offer));
        vm.expectPartialRevert(IMarket.OfferWithdrawn.selector);
        _openWith(offer, signature, new bytes32[](0));
    }

    function test_refusesAnExpiredOffer() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.validUntil = uint64(START + 5);
        uint256[] memory words = _publish(offer);
        vm.warp(START + 5);
        _open(_draft(words, 100));
        vm.warp(START + 6);
        _expect(IMarket.OfferExpired.selector, _draft(words, 100), "");
    }

    function test_refusesAnotherToken() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.token = address(7);
        _expect(IMarket.OfferTokenDiffers.selector, _draft(_publish(offer), 100), "");
    }

    function test_refusesSecondsOutsideTheOffersRange() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.secondsMin = 61;
        _expect(IMarket.OfferSecondsRefused.selector, _draft(_publish(offer), 100), "");
        (offer.terms.secondsMin, offer.terms.secondsMax) = (0, 59);
        _expect(IMarket.OfferSecondsRefused.selector, _draft(_publish(offer), 100), "");
        (offer.terms.secondsMin, offer.terms.secondsMax) = (60, 60);
        _open(_draft(_publish(offer), 100));
    }

    function test_refusesATooSmallPoolAndTooManyShares() public {
        IMarket.Offer memory offer = _offer(STATION, 0);
        (offer.terms.shareBps, offer.terms.poolMinWei) = (6000, 50);
        Draft memory draft = _draft(_publish(offer), 100);
        draft.head[1] = 49;
        _expect(IMarket.OfferPoolTooSmall.selector, draft, "");
        draft.head[1] = 50;
        draft.offers = _join(draft.offers, draft.offers);
        _expect(IMarket.SharesExceedWhole.selector, draft, "");
    }

    function test_allowsOnlyTheAccountsOfTheTree() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.accountsRoot = _leaf(client);
        uint256[] memory words = _publish(offer);
        _expect(IMarket.OfferNotAuthorized.selector, _draft(words, 100), "");
        _openWith(offer, "", new bytes32[](0));
        offer.terms.accountsRoot = keccak256(abi.encodePacked(_min(_leaf(client), "x"), _max(_leaf(client), "x")));
        _publish(offer);
        bytes32[] memory path = new bytes32[](1);
        path[0] = "y";
        vm.expectPartialRevert(IMarket.OfferAccountRefused.selector);
        _openWith(offer, "", path);
        path[0] = "x";
        _openWith(offer, "", path);
    }

    function test_refusesADepositBelowTheHighestPrice() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.perSecondWei = 3;
        Draft memory draft = _draft(_publish(offer), 100 + 3 * 60 + 20 + 5 * 60 + 30 - 1);
        draft.head[1] = 30;
        draft.head[2] |= uint256(20) << 160 | uint256(5) << 64;
        _expect(IMarket.DepositTooSmall.selector, draft, "");
        draft.head[0] += 1;
        _open(draft);
    }

    function test_refusesDeadlinesPastAndTooFar() public {
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        uint256 rest = draft.head[3] & type(uint216).max;
        draft.head[3] = rest | block.timestamp << 216;
        _expect(IMarket.DeadlinePassed.selector, draft, "");
        draft.head[3] = rest | (block.timestamp + 3650 days + 1) << 216;
        _expect(IMarket.DeadlineTooFar.selector, draft, "");
    }

    function test_refusesNoOffersTooManyAndBrokenOnes() public {
        uint256[] memory words = _publish(_offer(STATION, 0));
        _expect(IMarket.OffersCount.selector, _draft(new uint256[](0), 100), "");
        _expect(IMarket.OffersCount.selector, _draft(new uint256[](7), 100), "");
        uint256[] memory many = words;
        for (uint256 i; i < 64; ++i) {
            many = _join(many, words);
        }
        _expect(IMarket.OffersCount.selector, _draft(many, 100), "");
    }

    function test_refusesCoinThatDoesNotMatch() public {
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        vm.prank(client);
        vm.expectRevert(IMarket.ValueMismatch.selector);
        market.open{value: 99}(draft.head, draft.digests, draft.offers, new bytes[](0));
        vm.prank(client);
        vm.expectPartialRevert(IMarket.BalanceTooLow.selector);
        market.open(draft.head, draft.digests, draft.offers, new bytes[](0));
    }

    function test_paysOutOfTheInternalBalance() public {
        market.deposit{value: 150}(address(0), client, 150);
        Draft memory draft = _draft(_publish(_offer(STATION, 100)), 100);
        vm.prank(client);
        market.open(draft.head, draft.digests, draft.offers, new bytes[](0));
        assertEq(_clientBalance(), 50);
    }

    function _expect(bytes4 selector, Draft memory draft, bytes memory) private {
        vm.prank(client);
        vm.expectPartialRevert(selector);
        market.open{value: uint96(draft.head[0])}(draft.head, draft.digests, draft.offers, new bytes[](0));
    }

    function _openWith(IMarket.Offer memory offer, bytes memory signature, bytes32[] memory path) private {
        Draft memory draft = _draft(_words(offer), 100);
        bytes[] memory proofs = new bytes[](1);
        proofs[0] = abi.encode(signature, path);
        vm.prank(client);
        market.open{value: 100}(draft.head, draft.digests, draft.offers, proofs);
    }

    function _publishedId(IMarket.Offer memory offer) private returns (bytes32) {
        vm.prank(offer.owner);
        return market.publishOffer(offer, "");
    }

    /// The id of an offer, taken from a publication that is undone.
    function _hash(IMarket.Offer memory offer) private returns (bytes32 id) {
        try this.publishAndRevert(offer) {
            revert("unreachable");
        } catch (bytes memory reason) {
            id = abi.decode(reason, (bytes32));
        }
    }

    function publishAndRevert(IMarket.Offer memory offer) external {
        vm.prank(offer.owner);
        bytes32 id = market.publishOffer(offer, "");
        assembly {
            mstore(0, id)
            revert(0, 32)
        }
    }

    function _leaf(address account) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(account))));
    }

    function _min(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? a : b;
    }

    function _max(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? b : a;
    }
}
