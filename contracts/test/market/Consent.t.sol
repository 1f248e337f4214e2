// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {World} from "../helpers/World.sol";
import {Wallet} from "./OpenFor.t.sol";

/// @notice Consent that changes: replaced from a time on, disabled and enabled, revoked by signature.
contract ConsentTest is World {
    function test_aChangeHoldsFromItsTimeOn() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        uint256[] memory words = _publish(offer);
        (IMarket.Offer memory next, uint256[] memory nextWords) = _next(offer);
        vm.prank(offer.owner);
        market.changeOffer(words, next, uint64(START + 100), "");
        _open(_draft(words, 101));
        _expect(IMarket.OfferNotYetValid.selector, nextWords);
        vm.warp(START + 100);
        _expect(IMarket.OfferWithdrawn.selector, words);
        _open(_draft(nextWords, 201));
    }

    function test_ordersBeforeAChangeKeepTheirTerms() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        Draft memory draft = _draft(_publish(offer), 100);
        _open(draft);
        (IMarket.Offer memory next,) = _next(offer);
        vm.prank(offer.owner);
        market.changeOffer(draft.offers, next, 0, "");
        _settle(draft, 0, 0);
        assertEq(_balance(STATION), 100);
    }

    function test_aChangeBySignatureNeedsNoTransactionOfTheOwner() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        uint256[] memory words = _words(offer);
        (IMarket.Offer memory next, uint256[] memory nextWords) = _next(offer);
        bytes32 digest = _changeDigest(words, nextWords, 0);
        bytes memory forged = _sign65(STRANGER, digest);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.changeOffer(words, next, 0, forged);
        bytes memory signature = _sign65(STATION, digest);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.changeOffer(words, next, 1, signature);
        market.changeOffer(words, next, 0, signature);
        _open(_draft(nextWords, 201));
        vm.expectPartialRevert(IMarket.OfferExists.selector);
        market.changeOffer(words, next, 0, signature);
    }

    function test_aContractWalletChangesAndRevokes() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.owner = address(new Wallet(vm.addr(STATION)));
        (IMarket.Offer memory next, uint256[] memory nextWords) = _next(offer);
        uint256[] memory words = _words(offer);
        market.changeOffer(words, next, 0, _sign65(STATION, _changeDigest(words, nextWords, 0)));
        _open(_draft(nextWords, 201));
        market.revokeOffer(nextWords, 0, _sign65(STATION, _revocationDigest(nextWords, 0)));
        _expect(IMarket.OfferWithdrawn.selector, nextWords);
    }

    function test_aChangeLeadsToAnOfferThatNeverWas() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        uint256[] memory words = _publish(offer);
        (IMarket.Offer memory next, uint256[] memory nextWords) = _next(offer);
        _publish(next);
        vm.prank(offer.owner);
        vm.expectPartialRevert(IMarket.OfferExists.selector);
        market.changeOffer(words, next, 0, "");
        vm.prank(offer.owner);
        vm.expectPartialRevert(IMarket.OfferExists.selector);
        market.changeOffer(nextWords, offer, 0, "");
        next.owner = vm.addr(STRANGER);
        vm.prank(offer.owner);
        vm.expectRevert(IMarket.NotOwner.selector);
        market.changeOffer(words, next, 0, "");
    }

    function test_whatIsRevokedIsNotChanged() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        uint256[] memory words = _publish(offer);
        (IMarket.Offer memory next,) = _next(offer);
        vm.prank(offer.owner);
        market.revokeOffer(words, 0, "");
        vm.prank(offer.owner);
        vm.expectPartialRevert(IMarket.OfferWithdrawn.selector);
        market.changeOffer(words, next, 0, "");
    }

    function test_revocationBySignature() public {
        uint256[] memory words = _publish(_offer(STATION, 100));
        bytes memory signature = _sign65(STATION, _revocationDigest(words, uint64(START + 50)));
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.revokeOffer(words, 0, signature);
        market.revokeOffer(words, uint64(START + 50), signature);
        _open(_draft(words, 101));
        vm.warp(START + 50);
        _expect(IMarket.OfferWithdrawn.selector, words);
    }

    function test_disabledOffersOpenNothingUntilEnabled() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.runsMax = 2;
        uint256[] memory words = _publish(offer);
        _open(_draft(words, 101));
        vm.expectRevert(IMarket.NotOwner.selector);
        market.enableOffer(words, false);
        vm.prank(offer.owner);
        market.enableOffer(words, false);
        (bool enabled,) = market.offerTimes(_offerId(words, 0));
        assertTrue(!enabled);
        _expect(IMarket.OfferDisabled.selector, words);
        vm.prank(offer.owner);
        market.enableOffer(words, true);
        Draft memory draft = _draft(words, 102);
        draft.head[3] ^= 1 << 112;
        _open(draft);
        _expect(IMarket.OfferRunsExhausted.selector, words);
    }

    function test_disablingAnUnpublishedOfferDisablesItsSignatureToo() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        uint256[] memory words = _words(offer);
        vm.prank(offer.owner);
        market.enableOffer(words, false);
        Draft memory draft = _draft(words, 100);
        bytes[] memory proofs = new bytes[](1);
        proofs[0] = abi.encode(_sign65(STATION, _offerId(words, 0)), new bytes32[](0));
        vm.prank(client);
        vm.expectPartialRevert(IMarket.OfferDisabled.selector);
        market.open{value: 100}(draft.head, draft.digests, draft.offers, proofs);
    }

    function test_refusesAnUnknownKind() public {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.kind = 5;
        vm.prank(offer.owner);
        vm.expectRevert(IMarket.OfferTermsInvalid.selector);
        market.publishOffer(offer, "");
    }

    function _next(IMarket.Offer memory offer)
        private
        pure
        returns (IMarket.Offer memory next, uint256[] memory words)
    {
        next = abi.decode(abi.encode(offer), (IMarket.Offer));
        next.terms.fixedWei = 200;
        next.content.consentDigest = "stricter";
        return (next, _words(next));
    }

    function _changeDigest(uint256[] memory words, uint256[] memory next, uint64 fromTime)
        private
        view
        returns (bytes32)
    {
        bytes32 typehash = keccak256("OfferChange(bytes32 offerId,bytes32 nextId,uint64 fromTime)");
        return _marketDigest(keccak256(abi.encode(typehash, _offerId(words, 0), _offerId(next, 0), fromTime)));
    }

    function _revocationDigest(uint256[] memory words, uint64 fromTime) private view returns (bytes32) {
        bytes32 typehash = keccak256("OfferRevocation(bytes32 offerId,uint64 fromTime)");
        return _marketDigest(keccak256(abi.encode(typehash, _offerId(words, 0), fromTime)));
    }

    function _expect(bytes4 selector, uint256[] memory words) private {
        Draft memory draft = _draft(words, 999);
        draft.head[3] ^= 7 << 112;
        vm.prank(client);
        vm.expectPartialRevert(selector);
        market.open{value: 999}(draft.head, draft.digests, draft.offers, new bytes[](0));
    }
}
