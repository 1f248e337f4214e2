// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Token} from "../attack/Tokens.sol";
import {World} from "../helpers/World.sol";

/// @notice A token with permits (EIP-2612).
contract PermitToken is Token {
    bytes32 public immutable DOMAIN_SEPARATOR = keccak256(abi.encode("PermitToken", block.chainid, address(this)));
    mapping(address owner => uint256) public nonces;

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        require(block.timestamp <= deadline, "late");
        bytes32 hash = permitHash(owner, spender, value, nonces[owner]++, deadline);
        require(ecrecover(hash, v, r, s) == owner, "not the owner's");
        allowance[owner][spender] = value;
    }

    function permitHash(address owner, address spender, uint256 value, uint256 nonce, uint256 deadline)
        public
        view
        returns (bytes32)
    {
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 hash = keccak256(abi.encode(typehash, owner, spender, value, nonce, deadline));
        return keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR, hash));
    }
}

/// @notice A wallet whose owner signs for it.
contract Wallet {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (bytes32 r, bytes32 s) = (bytes32(signature[0:32]), bytes32(signature[32:64]));
        return ecrecover(hash, uint8(signature[64]), r, s) == OWNER ? this.isValidSignature.selector : bytes4(0);
    }
}

/// @notice Orders that somebody else opens for the client, and permits.
contract OpenForTest is World {
    function test_anybodyOpensWhatTheClientSigned() public {
        market.deposit{value: 150}(address(0), client, 150);
        Draft memory draft = _drafted();
        _openFor(draft, _sign65(CLIENT, _orderId(draft)), "");
        assertEq(_clientBalance(), 50);
        draft.head[3] |= block.timestamp << 176;
        draft.id = _orderIdAt(draft);
        _settle(draft, 0, 0);
        assertEq(_balance(STATION), 100);
    }

    function test_theClientNeedsNoSignature() public {
        Draft memory draft = _drafted();
        vm.prank(client);
        market.openFor{value: 100}(draft.head, draft.digests, draft.offers, new bytes[](0), "", "");
    }

    function test_whoeverPaysMayPay() public {
        Draft memory draft = _drafted();
        bytes memory signature = _sign65(CLIENT, _orderId(draft));
        market.openFor{value: 100}(draft.head, draft.digests, draft.offers, new bytes[](0), signature, "");
        assertEq(_clientBalance(), 0);
    }

    function test_aSignatureOpensOnce() public {
        market.deposit{value: 300}(address(0), client, 300);
        Draft memory draft = _drafted();
        bytes memory signature = _sign65(CLIENT, _orderId(draft));
        _openFor(draft, signature, "");
        vm.expectPartialRevert(IMarket.OrderExists.selector);
        _openFor(draft, signature, "");
    }

    function test_refusesOthersSignaturesAndOtherOrders() public {
        market.deposit{value: 300}(address(0), client, 300);
        Draft memory draft = _drafted();
        bytes memory forged = _sign65(STRANGER, _orderId(draft));
        vm.expectRevert(IMarket.NotClient.selector);
        _openFor(draft, forged, "");
        bytes memory signature = _sign65(CLIENT, _orderId(draft));
        draft.digests[1] = keccak256("another recipient");
        vm.expectRevert(IMarket.NotClient.selector);
        _openFor(draft, signature, "");
        vm.expectRevert(IMarket.NotClient.selector);
        _openFor(draft, "", "");
    }

    function test_refusesASignatureForAnotherChain() public {
        market.deposit{value: 300}(address(0), client, 300);
        Draft memory draft = _drafted();
        bytes memory signature = _sign65(CLIENT, _orderId(draft));
        vm.chainId(99);
        _publish(_offer(STATION, 100));
        vm.expectRevert(IMarket.NotClient.selector);
        _openFor(draft, signature, "");
    }

    function test_aContractWalletIsAClient() public {
        Wallet wallet = new Wallet(vm.addr(STRANGER));
        market.deposit{value: 100}(address(0), address(wallet), 100);
        Draft memory draft = _drafted();
        draft.head[0] = uint256(uint160(address(wallet))) << 96 | 100;
        bytes memory forged = _sign65(CLIENT, _orderId(draft));
        vm.expectRevert(IMarket.NotClient.selector);
        _openFor(draft, forged, "");
        _openFor(draft, _sign65(STRANGER, _orderId(draft)), "");
        assertEq(market.balanceOf(address(0), address(wallet)), 0);
    }

    function test_aPermitPaysWithoutAnAllowance() public {
        PermitToken token = new PermitToken();
        token.mint(client, 100);
        Draft memory draft = _tokenDraft(address(token));
        _openFor(draft, _sign65(CLIENT, _orderId(draft)), _permitOf(token, CLIENT, 100));
        assertEq(token.balanceOf(address(market)), 100);
        assertEq(token.allowance(client, address(market)), 0);
    }

    function test_aPermitThatSomebodyUsedBeforeStillPays() public {
        PermitToken token = new PermitToken();
        token.mint(client, 100);
        Draft memory draft = _tokenDraft(address(token));
        bytes memory permit = _permitOf(token, CLIENT, 100);
        (uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) =
            abi.decode(permit, (uint256, uint256, uint8, bytes32, bytes32));
        token.permit(client, address(market), value, deadline, v, r, s);
        _openFor(draft, _sign65(CLIENT, _orderId(draft)), permit);
        assertEq(token.balanceOf(address(market)), 100);
    }

    function test_aPermitOfSomebodyElsePaysNothing() public {
        PermitToken token = new PermitToken();
        token.mint(client, 100);
        token.mint(vm.addr(STRANGER), 100);
        Draft memory draft = _tokenDraft(address(token));
        bytes memory signature = _sign65(CLIENT, _orderId(draft));
        bytes memory permit = _permitOf(token, STRANGER, 100);
        vm.expectRevert();
        _openFor(draft, signature, permit);
    }

    function test_depositsByPermitOfTheCallerOnly() public {
        PermitToken token = new PermitToken();
        token.mint(client, 100);
        bytes memory permit = _permitOf(token, CLIENT, 60);
        vm.expectRevert();
        market.depositWithPermit(address(token), address(this), 60, permit);
        vm.prank(client);
        market.depositWithPermit(address(token), vm.addr(STATION), 60, permit);
        assertEq(market.balanceOf(address(token), vm.addr(STATION)), 60);
        vm.prank(client);
        vm.expectRevert();
        market.depositWithPermit(address(token), client, 40, permit);
    }

    function test_thereIsNoPermitForCoin() public {
        vm.expectRevert(IMarket.ValueMismatch.selector);
        market.depositWithPermit(address(0), client, 1, "");
    }

    function _openFor(Draft memory draft, bytes memory signature, bytes memory permit) private {
        market.openFor(draft.head, draft.digests, draft.offers, new bytes[](0), signature, permit);
    }

    function _drafted() private returns (Draft memory) {
        return _draft(_publish(_offer(STATION, 100)), 100);
    }

    function _orderIdAt(Draft memory draft) private view returns (bytes32) {
        draft.head[3] ^= block.timestamp << 176;
        bytes32 id = _orderId(draft);
        draft.head[3] ^= block.timestamp << 176;
        return id;
    }

    function _tokenDraft(address token) private returns (Draft memory draft) {
        IMarket.Offer memory offer = _offer(STATION, 100);
        offer.terms.token = token;
        draft = _draft(_publish(offer), 100);
        draft.head[1] = uint256(uint160(token)) << 96;
    }

    function _permitOf(PermitToken token, uint256 key, uint256 value) private view returns (bytes memory) {
        address owner = vm.addr(key);
        uint256 deadline = block.timestamp + 1 hours;
        bytes32 hash = token.permitHash(owner, address(market), value, token.nonces(owner), deadline);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        return abi.encode(value, deadline, v, r, s);
    }
}
