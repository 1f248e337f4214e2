// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {World} from "../helpers/World.sol";

/// @notice A wallet that accepts any signature which is its own address (EIP-1271).
contract Wallet {
    function isValidSignature(bytes32, bytes calldata signature) external view returns (bytes4) {
        return keccak256(signature) == keccak256(abi.encode(address(this))) ? bytes4(0x1626ba7e) : bytes4(0);
    }
}

contract PublishTest is World {
    function test_ownerPublishes() public {
        bytes32 id = _id(_offer(STATION, 5));
        _publish(_offer(STATION, 5));
        (bool known, uint32 runs, uint64 revokedFrom) = market.offerState(id);
        assertTrue(known && runs == 0 && revokedFrom == 0);
    }

    function test_anybodyPublishesWithTheOwnersSignature() public {
        IMarket.Offer memory offer = _offer(STATION, 5);
        assertEq(market.publishOffer(offer, _sign65(STATION, _id(offer))), _id(offer));
    }

    function test_contractWalletSigns() public {
        IMarket.Offer memory offer = _offer(STATION, 5);
        offer.owner = address(new Wallet());
        market.publishOffer(offer, abi.encode(offer.owner));
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.publishOffer(offer, abi.encode(address(1)));
    }

    function test_refusesAStrangersSignature() public {
        IMarket.Offer memory offer = _offer(STATION, 5);
        bytes memory signature = _sign65(STRANGER, _id(offer));
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.publishOffer(offer, signature);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.publishOffer(offer, "");
    }

    function test_refusesASignatureForAnotherChain() public {
        IMarket.Offer memory offer = _offer(STATION, 5);
        bytes memory signature = _sign65(STATION, _id(offer));
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.publishOffer(offer, signature);
    }

    function test_refusesImpossibleTerms() public {
        IMarket.Offer memory offer = _offer(STATION, 5);
        offer.terms.bookingWei = 6;
        vm.expectRevert(IMarket.OfferTermsInvalid.selector);
        market.publishOffer(offer, "");
        offer = _offer(STATION, 5);
        offer.terms.shareBps = 10_001;
        vm.expectRevert(IMarket.OfferTermsInvalid.selector);
        market.publishOffer(offer, "");
        offer = _offer(STATION, 5);
        (offer.terms.secondsMin, offer.terms.secondsMax) = (10, 9);
        vm.expectRevert(IMarket.OfferTermsInvalid.selector);
        market.publishOffer(offer, "");
    }

    function testFuzz_idsOfStructAndWordsAgree(IMarket.Offer memory offer) public {
        offer.owner = address(new Wallet());
        if (offer.terms.bookingWei > offer.terms.fixedWei) offer.terms.bookingWei = offer.terms.fixedWei;
        offer.terms.shareBps = uint16(bound(offer.terms.shareBps, 0, 10_000));
        offer.kind %= 5;
        if (offer.terms.secondsMin > offer.terms.secondsMax) offer.terms.secondsMax = 0;
        vm.prank(offer.owner);
        bytes32 id = market.publishOffer(offer, "");
        vm.prank(offer.owner);
        market.revokeOffer(_words(offer), 0, "");
        (,, uint64 revokedFrom) = market.offerState(id);
        assertEq(revokedFrom, block.timestamp);
    }

    function test_revokesFromAMomentOnAndOnlyEarlier() public {
        uint256[] memory words = _publish(_offer(STATION, 5));
        vm.prank(vm.addr(STATION));
        market.revokeOffer(words, uint64(START + 100), "");
        vm.prank(vm.addr(STATION));
        market.revokeOffer(words, uint64(START + 50), "");
        vm.prank(vm.addr(STATION));
        vm.expectPartialRevert(IMarket.OfferWithdrawn.selector);
        market.revokeOffer(words, uint64(START + 60), "");
        (bool known,, uint64 revokedFrom) = market.offerState(_id(_offer(STATION, 5)));
        assertTrue(known);
        assertEq(revokedFrom, START + 50);
    }

    function test_onlyTheOwnerRevokes() public {
        uint256[] memory words = _publish(_offer(STATION, 5));
        vm.expectPartialRevert(IMarket.OfferNotAuthorized.selector);
        market.revokeOffer(words, 0, "");
        vm.expectRevert(IMarket.WordsInvalid.selector);
        market.revokeOffer(new uint256[](5), 0, "");
    }

    function _id(IMarket.Offer memory offer) private view returns (bytes32) {
        bytes32 terms = keccak256(
            abi.encode(
                keccak256(
                    "OfferTerms(address token,uint96 fixedWei,uint96 perSecondWei,uint96 bookingWei,uint96 poolMinWei,uint16 shareBps,uint32 secondsMin,uint32 secondsMax,uint32 runsMax,uint64 validUntil,bytes32 accountsRoot)"
                ),
                offer.terms
            )
        );
        bytes32 typehash = keccak256(
            "Offer(address owner,uint8 kind,OfferTerms terms,OfferContent content)OfferContent(bytes32 contentDigest,bytes32 sealedDigest,bytes32 headerDigest,bytes32 consentDigest,bytes32 detailsDigest,bytes32 salt)OfferTerms(address token,uint96 fixedWei,uint96 perSecondWei,uint96 bookingWei,uint96 poolMinWei,uint16 shareBps,uint32 secondsMin,uint32 secondsMax,uint32 runsMax,uint64 validUntil,bytes32 accountsRoot)"
        );
        return _marketDigest(keccak256(abi.encode(typehash, offer.owner, offer.kind, terms, _words(offer)[5])));
    }
}
