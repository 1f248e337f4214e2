// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title  Market: offers, orders, and the money between them.
/// @notice Owners offer engines, data, models, compute and storage on terms of their own. A client opens
///         an order on such offers and pays its highest price into escrow. The leader's assignment and the
///         node's signed report settle it in one transaction; without a report by the deadline the client
///         is refunded. Nobody owns the contract; nobody can pause, upgrade or touch what it holds.
/// @dev    All statements are EIP-712 under the domain
///         {name: "Cloister Market", version: "1", chainId, verifyingContract: this}.
///         The id of an offer or an order is its EIP-712 digest (0x1901 ‖ domain ‖ struct hash): the same
///         statement has the same id for ever, so sending it again after a chain rolled back does the same
///         thing once more or reverts, and nothing is charged twice.
///
///         Storage that proofs rely on: slot 0 holds `mapping(bytes32 orderId => bytes32) anchors`. The slot
///         of an order is keccak256(orderId ‖ uint256(0)). Its value is
///           0                                  never opened,
///           1, 2                               refunded, forfeited (refunded, and the node's stake taken),
///           keccak256(orderId ‖ reportDigest)  settled, failed or cancelled by a signed report,
///           anything else                      open: keccak256(escrow words ‖ payee words), at least 192 bytes.
///         The preimage of an anchor has 64 bytes, so no report can pass for an open order.
///
///         Amounts are in the smallest unit of `token` (address 0: the native coin) and fit 96 bits.
///         Every payment is a credit to an internal balance that its owner withdraws.
///         Assumptions on tokens: a transfer that reports success moved what the balances show; balances
///         do not shrink by themselves. A token that breaks this harms only those who chose it.
interface IMarket {
    /// @notice What an offer is about. Digests are SHA-256.
    /// @param contentDigest  of the plaintext
    /// @param sealedDigest   of the sealed file (age v1)
    /// @param headerDigest   of the sealed file's header, MAC line included
    /// @param consentDigest  of the canonical consent document; 0 when there is none
    /// @param detailsDigest  of a canonical document with name, version, slots and options; 0 when there is none
    /// @param salt           tells apart offers that are equal in all else
    struct OfferContent {
        bytes32 contentDigest;
        bytes32 sealedDigest;
        bytes32 headerDigest;
        bytes32 consentDigest;
        bytes32 detailsDigest;
        bytes32 salt;
    }

    /// @notice On what terms an offer may be used.
    /// @param token         what is paid with; 0 is the native coin
    /// @param fixedWei      per order that succeeds
    /// @param perSecondWei  per attested second
    /// @param bookingWei    part of `fixedWei` that the owner keeps when an order comes to nothing, so that
    ///                      using up counted runs costs something
    /// @param poolMinWei    least pool of an order from which `shareBps` is taken
    /// @param shareBps      share of the order's pool, in hundredths of a percent
    /// @param secondsMin    least and
    /// @param secondsMax    highest number of seconds an order may ask for; 0 is no limit
    /// @param runsMax       how many orders may ever be opened; 0 is no limit
    /// @param validUntil    seconds since 1970; 0 is no limit
    /// @param accountsRoot  who may open: 0 anybody; otherwise the root of a Merkle tree over
    ///                      keccak256(bytes.concat(keccak256(abi.encode(account)))) with sorted pairs
    struct OfferTerms {
        address token;
        uint96 fixedWei;
        uint96 perSecondWei;
        uint96 bookingWei;
        uint96 poolMinWei;
        uint16 shareBps;
        uint32 secondsMin;
        uint32 secondsMax;
        uint32 runsMax;
        uint64 validUntil;
        bytes32 accountsRoot;
    }

    /// @notice An offer as it is signed.
    /// @param owner who offers and is paid: an account, a contract wallet, or a split (see `splitAddress`)
    /// @param kind  0 engine, 1 data, 2 model, 3 compute, 4 storage
    struct Offer {
        address owner;
        uint8 kind;
        OfferTerms terms;
        OfferContent content;
    }

    /// @notice An offer in six words, most significant bits first, as `open` and `revokeOffer` take it:
    ///         0: owner (160) fixedWei (96)
    ///         1: perSecondWei (96) bookingWei (96) shareBps (16) kind (8) zero (40)
    ///         2: token (160) poolMinWei (96)
    ///         3: secondsMin (32) secondsMax (32) runsMax (32) validUntil (64) zero (96)
    ///         4: accountsRoot
    ///         5: struct hash of OfferContent
    ///         Several offers follow one another. The first two words of an offer are its payee words.

    /// @notice An order as it is identified and, where a relayer opens it, signed by the client.
    /// @param token               what is paid with; each offer must ask for the same
    /// @param depositWei          the highest price: paid into escrow when the order opens
    /// @param poolWei             amount that is shared among the offers that ask for a share
    /// @param computeFixedWei     for the operator of the node, per order that succeeds
    /// @param computePerSecondWei for the operator of the node, per attested second
    /// @param secondsMax          most seconds that can be paid for
    /// @param deadline            seconds since 1970: the last moment for a report
    /// @param offers              ids, the engine first
    /// @param argsDigest          SHA-256 of the arguments document
    /// @param recipientDigest     SHA-256 of the age recipient that the output is encrypted to
    /// @param goal                keccak256 of the goal's id; 0 is any group that computes
    /// @param salt                tells apart orders that are equal in all else
    /// @param slots               compute slots, at least 1: each is another node's, and the prices for compute
    ///                            are those of one slot
    struct Order {
        address client;
        address token;
        uint96 depositWei;
        uint96 poolWei;
        uint96 computeFixedWei;
        uint96 computePerSecondWei;
        uint32 secondsMax;
        uint40 deadline;
        bytes32[] offers;
        bytes32 argsDigest;
        bytes32 recipientDigest;
        bytes32 goal;
        uint64 salt;
        uint8 slots;
    }

    /// @notice The leader's decision that one node runs one order. Good while `term` is the current one.
    struct Assignment {
        bytes32 orderId;
        address node;
        uint64 term;
        uint64 epoch;
    }

    /// @notice What a node says about an order. Signed with its settlement key.
    /// @param reportDigest SHA-256 of the signed order report
    /// @param outputDigest SHA-256 of the sealed output; 0 when there is none
    /// @param outcome      0 succeeded, 1 failed, 2 cancelled
    /// @param exitCode     of the engine, or the loader's code for why it did not run
    /// @param secondsUsed  attested seconds, from the first to the last
    struct Report {
        bytes32 orderId;
        bytes32 reportDigest;
        bytes32 outputDigest;
        uint8 outcome;
        uint32 exitCode;
        uint32 secondsUsed;
    }

    /// @notice A report as `settle` takes it.
    /// @param result outcome (upper bits, at most 2) exitCode (32) secondsUsed (32)
    struct ReportWords {
        bytes32 reportDigest;
        bytes32 outputDigest;
        uint256 result;
    }

    /// @notice What an open order's slot commits to: four words, most significant bits first,
    ///         0: client (160) depositWei (96)
    ///         1: token (160) poolWei (96)
    ///         2: computeFixedWei (96) computePerSecondWei (96) secondsMax (32) secondsPaid (32)
    ///         3: deadline (40) openedAt (40) salt (64) slots (8) state (8) paidWei (96)
    ///         followed by the two payee words of each offer, in the order's sequence, in the second of which the
    ///         contract puts the offer's secondsMax into the low 32 bits.
    /// @dev    Bit 0 of the state says that the order was started, whose time is then in openedAt; bit 1 that the
    ///         client is ending it. `OrderOpened` and `OrderChanged` carry the head; `OfferPublished` and `OfferUsed` what the payees
    ///         follow from. Whoever settles hands the words back.
    struct Escrow {
        uint256[4] head;
        uint256[] payees;
    }

    /// @notice One order of a batch that one node settles at once.
    struct Settlement {
        bytes32 orderId;
        uint256[4] head;
        uint256[] payees;
        ReportWords report;
    }

    /// @notice A signed report as evidence: alone, with the seconds of further slots, or as part of a batch whose
    ///         struct hashes are `batch`.
    /// @param more as `settleSlots` takes it; only the seconds count
    struct SignedReport {
        ReportWords report;
        uint256[] more;
        bytes32[] batch;
        bytes32[2] signature;
    }

    /// @notice A payment channel from a consumer to a service. Its id is its EIP-712 digest.
    /// @param payee  who is credited: for a service the split of its order (`serviceSplit`)
    /// @param expiry seconds since 1970: from then on the consumer may take back what no voucher claimed
    struct Channel {
        address consumer;
        address token;
        address payee;
        uint40 expiry;
        uint64 salt;
    }

    event OfferPublished(bytes32 indexed offerId, address indexed owner, uint8 indexed kind, OfferTerms terms, OfferContent content);
    /// @param fromTime seconds since 1970: from then on no order can be opened on the offer
    event OfferRevoked(bytes32 indexed offerId, address indexed owner, uint64 fromTime);

    /// @notice The owner replaced an offer by another one, which holds from that time on.
    event OfferChanged(bytes32 indexed offerId, bytes32 indexed nextId, uint64 fromTime);
    event OfferEnabled(bytes32 indexed offerId, address indexed owner, bool enabled);

    /// @notice An offer was used with its owner's signature.
    event OfferUsed(bytes32 indexed offerId, uint256[6] words);

    event OrderOpened(
        bytes32 indexed orderId,
        uint256[4] head,
        bytes32 argsDigest,
        bytes32 recipientDigest,
        bytes32 goal,
        bytes32[] offers
    );
    /// @notice The order was extended, cancelled or paid for in part; the first words of its escrow are now these.
    event OrderChanged(bytes32 indexed orderId, uint256[4] head);
    /// @notice A node began with the order: seconds count from now on.
    event OrderStarted(bytes32 indexed orderId, address indexed node, uint256[4] head);
    /// @notice The operators of further slots were credited, before the claim or the settlement that it is part of.
    event OrderSlotsPaid(bytes32 indexed orderId, address[] operators, uint256[] amounts);
    /// @notice Seconds of a running order were paid for: the new words tell how many and how much.
    event OrderClaimed(bytes32 indexed orderId, address indexed node, uint256[4] head);
    /// @notice The order ended by a report. Who got how much follows from the escrow and this event.
    /// @param result node (160) zero (24) outcome (8) exitCode (32) and the seconds that were paid for (32)
    event OrderSettled(bytes32 indexed orderId, bytes32 reportDigest, bytes32 outputDigest, uint256 result);
    event OrderRefunded(bytes32 indexed orderId);
    event OrderForfeited(bytes32 indexed orderId, address indexed node);

    event ChannelFunded(bytes32 indexed channelId, address indexed consumer, Channel channel, uint256 addWei);
    event VoucherClaimed(bytes32 indexed channelId, address indexed payee, address token, uint256 amountWei);
    event ChannelClosed(bytes32 indexed channelId, address indexed consumer, address token, uint256 restWei);

    event Deposited(address indexed token, address indexed account, uint256 amount);
    /// @notice An order or its extension was paid for out of an internal balance.
    event BalanceUsed(address indexed token, address indexed account, uint256 amount);
    event Withdrawn(address indexed token, address indexed account, address to, uint256 amount);
    event SplitDistributed(address indexed token, address indexed split, uint256 amount, address[] accounts, uint16[] sharesBps);

    error NotOwner();
    error NotClient();
    error SignatureInvalid();
    error OfferNotAuthorized(bytes32 offerId);
    error OfferExpired(bytes32 offerId);
    error OfferWithdrawn(bytes32 offerId);
    error OfferNotYetValid(bytes32 offerId);
    error OfferDisabled(bytes32 offerId);
    error OfferExists(bytes32 offerId);
    error OfferRunsExhausted(bytes32 offerId);
    error OfferAccountRefused(bytes32 offerId);
    error OfferTokenDiffers(bytes32 offerId);
    error OfferSecondsRefused(bytes32 offerId);
    error OfferPoolTooSmall(bytes32 offerId);
    error OfferTermsInvalid();
    error WordsInvalid();
    error OffersCount(uint256 got);
    error SharesExceedWhole();
    error SecondsRefused(uint256 got, uint256 most);
    error DepositTooSmall(uint256 got, uint256 wanted);
    error DeadlinePassed();
    error DeadlineNotPassed(uint256 deadline);
    error DeadlineTooFar();
    error OrderExists(bytes32 orderId);
    error EscrowMismatch(bytes32 orderId);
    error ReportInvalid();
    error SlotsInvalid();
    error AlreadyStarted();
    error ValueMismatch();
    error TransferShort(uint256 got, uint256 wanted);
    error TransferFailed();
    error BalanceTooLow(uint256 got, uint256 wanted);
    error SplitInvalid();
    error ChannelUnknown(bytes32 channelId);
    error ChannelNotExpired(uint256 expiry);
    error VoucherNotNewer(uint256 got, uint256 claimed);
    error VoucherTooHigh(uint256 got, uint256 deposit);
    error NotRegistry();
    error EvidenceRejected();
    error BatchInvalid();

    /// @notice Publishes an offer by event, so that everybody knows it and orders on it need no signature.
    /// @param signature of the owner over Offer (EIP-712, or EIP-1271 when the owner is a contract);
    ///                  empty when the owner calls
    function publishOffer(Offer calldata offer, bytes calldata signature) external returns (bytes32 offerId);

    /// @notice Ends an offer from a moment on (0: now). An earlier moment replaces a later one, never the reverse.
    /// @param words     the six words of the offer
    /// @param signature of the owner over OfferRevocation(bytes32 offerId,uint64 fromTime); empty when it calls
    function revokeOffer(uint256[] calldata words, uint64 fromTime, bytes calldata signature) external;

    /// @notice Changes what an owner consents to: from a moment on (0: now) orders open on `next` instead of the
    ///         offer that `words` are. Orders opened before keep what they were opened on.
    /// @param next      published by this; of the same owner, never published, used or revoked before
    /// @param signature of the owner over OfferChange(bytes32 offerId,bytes32 nextId,uint64 fromTime); empty when
    ///                  it calls
    function changeOffer(uint256[] calldata words, Offer calldata next, uint64 fromTime, bytes calldata signature)
        external
        returns (bytes32 nextId);

    /// @notice Lets no order be opened on an offer until it is enabled again. Only its owner.
    function enableOffer(uint256[] calldata words, bool enabled) external;

    /// @notice Opens an order and takes its deposit: from `msg.value`, from the client's balance here,
    ///         or, for a token, from the client's account by its allowance. Only the client.
    /// @dev    Checks of each offer: owner's authority, expiry, revocation, runs, account, token, seconds, pool,
    ///         and that the deposit covers the highest price. The rest of consent is bound by `consentDigest`.
    /// @param head    the words of Escrow.head; openedAt, secondsPaid and paidWei are 0
    /// @param digests argsDigest, recipientDigest, goal
    /// @param offers  six words for each offer
    /// @param proofs  empty when every offer was published and allows anybody; else for each offer
    ///                abi.encode(bytes signature, bytes32[] accountProof), either part may be empty
    function open(
        uint256[4] calldata head,
        bytes32[3] calldata digests,
        uint256[] calldata offers,
        bytes[] calldata proofs
    ) external payable returns (bytes32 orderId);

    /// @notice Opens an order in its client's name: anybody may bring what the client signed, which is paid for
    ///         from `msg.value`, from the client's balance here or by the client's allowance.
    /// @param signature of the client over Order (EIP-712, or EIP-1271 when the client is a contract); empty when
    ///                  the client calls
    /// @param permit    abi.encode(uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) of an EIP-2612
    ///                  permit of the client to this contract; empty when there is none
    function openFor(
        uint256[4] calldata head,
        bytes32[3] calldata digests,
        uint256[] calldata offers,
        bytes[] calldata proofs,
        bytes calldata signature,
        bytes calldata permit
    ) external payable returns (bytes32 orderId);

    /// @notice Records that a node began with an order, once: its seconds count from now on, not from when the
    ///         order was opened. Anybody may bring it; an order need not be started to be settled.
    /// @param more          as `settleSlots` takes it
    /// @param nodeSignature over Start(bytes32 orderId), by the assigned node (ERC-2098)
    function start(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[2] calldata leaderSignature,
        bytes32[2] calldata nodeSignature
    ) external;

    /// @notice Ends an order by a node's report. Anybody may bring it. Only for orders with one slot.
    /// @param assignment      node (160) term (48) epoch (48)
    /// @param leaderSignature over Assignment, by the leader of the current term (ERC-2098)
    /// @param nodeSignature   over Report, by the assigned node (ERC-2098)
    function settle(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        bytes32[2] calldata leaderSignature,
        ReportWords calldata report,
        bytes32[2] calldata nodeSignature
    ) external;

    /// @notice Ends an order with several compute slots. Its first node reports for all of them and says how long
    ///         each other was attested; the operator of each is paid for its own slot.
    /// @param assignment      of the first node: node (160) term (48) epoch (48)
    /// @param more            for each further slot node (160) zero (64) secondsUsed (32), ascending by node
    /// @param leaderSignature over SlotsAssignment(bytes32 orderId,address[] nodes,uint64 term,uint64 epoch)
    /// @param nodeSignature   over SlotsReport(Report report,uint32[] slotSeconds), by the first node
    function settleSlots(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[2] calldata leaderSignature,
        ReportWords calldata report,
        bytes32[2] calldata nodeSignature
    ) external;

    /// @notice Ends many orders of one node.
    /// @param leaderSignature over AssignmentBatch(bytes32[] orderIds,address node,uint64 term,uint64 epoch)
    /// @param nodeSignature   over ReportBatch(Report[] reports)
    function settleBatch(
        Settlement[] calldata settlements,
        uint256 assignment,
        bytes32[2] calldata leaderSignature,
        bytes32[2] calldata nodeSignature
    ) external;

    /// @notice Pays for the attested seconds of an order that goes on. Anybody may bring it.
    /// @param more            as `settleSlots` takes it; empty for an order with one slot
    /// @param secondsUsed     attested seconds since the order began, signed by the node as
    ///                        Heartbeat(bytes32 orderId,uint32 secondsUsed), or with further slots as
    ///                        SlotsHeartbeat(bytes32 orderId,uint32 secondsUsed,uint32[] slotSeconds)
    function claim(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[2] calldata leaderSignature,
        uint32 secondsUsed,
        bytes32[2] calldata nodeSignature
    ) external;

    /// @notice Tops an order up: more deposit, more seconds, a later deadline. Only the client, and to no more seconds
    ///         than each of its offers allows. A service that was paid by the second can be topped up for
    ///         GRACE_SECONDS after its deadline, in which nobody can refund it.
    function extend(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        uint96 addWei,
        uint32 addSeconds,
        uint40 deadline
    ) external payable;

    /// @notice Ends an order early: the node has CANCEL_SECONDS from now on to report the seconds it worked,
    ///         which are paid; then anybody may refund the rest. Only the client.
    function cancel(bytes32 orderId, uint256[4] calldata head, uint256[] calldata payees) external;

    /// @notice Refunds an order whose deadline, and for a service the grace period, passed without a report. Anybody.
    function refund(bytes32 orderId, uint256[4] calldata head, uint256[] calldata payees) external;

    /// @notice Takes stake of a node that was given an order and let its deadline pass. Into the kitty, never
    ///         to the client: draining must not pay. Anybody who has the assignment, of the current term: after a past
    ///         one the order may have become another node's. Not of a node whose measurement was revoked, which could
    ///         not report.
    ///         Of several slots' nodes the first one, which alone could have ended the order.
    /// @param more  as `settleSlots` takes it; empty for an order with one slot
    /// @param batch the order ids of the batch that was assigned; empty when the order was assigned alone
    function forfeit(
        bytes32 orderId,
        uint256 assignment,
        uint256[] calldata more,
        bytes32[] calldata batch,
        bytes32[2] calldata leaderSignature
    ) external;

    /// @notice Takes the whole stake of a node that signed two different reports for one order.
    function proveDoubleReport(bytes32 orderId, SignedReport calldata reportA, SignedReport calldata reportB) external;

    /// @notice Takes the whole stake of a node that signed a report for an order that was opened more than ten
    ///         minutes after the node's certificate, or its measurement, was revoked: whoever knows the order knows
    ///         the revocation, which no reorganisation of the chain can have put before it. The order must still
    ///         be open.
    function proveRevokedReport(
        bytes32 orderId,
        uint256[4] calldata head,
        uint256[] calldata payees,
        SignedReport calldata report
    ) external;

    /// @notice The account of a split: an offer that names it as owner is paid to several accounts, some of
    ///         which may be splits themselves. Nobody holds its key; `distribute` pays it out.
    /// @param sharesBps hundredths of a percent, 10,000 in all
    function splitAddress(address[] calldata accounts, uint16[] calldata sharesBps) external view returns (address);

    /// @notice Credits a split's balance to its accounts. Anybody.
    function distribute(address token, address[] calldata accounts, uint16[] calldata sharesBps) external;

    /// @notice The split that a service's revenue goes to: each offer's owner gets its share, the order's
    ///         client, who runs the service, the rest. Where an owner is itself a split, it passes its part on.
    function serviceSplit(uint256[4] calldata head, uint256[] calldata payees)
        external
        view
        returns (address split, address[] memory accounts, uint16[] memory sharesBps);

    /// @notice Opens a payment channel or adds to it, paid for like an order. Only the consumer.
    function fundChannel(Channel calldata channel, uint96 addWei) external payable returns (bytes32 channelId);

    /// @notice Credits the payee with what a voucher adds to those before it. Anybody may bring it.
    /// @param cumulativeWei all that the consumer owes on this channel since it opened
    /// @param signature     of the consumer over Voucher(bytes32 channelId,uint96 cumulativeWei) (ERC-2098)
    function claimVoucher(Channel calldata channel, uint96 cumulativeWei, bytes32[2] calldata signature) external;

    /// @notice Returns to the consumer what no voucher claimed, once the channel expired. Anybody.
    function closeChannel(Channel calldata channel) external;

    /// @notice The registry tells who leads and how often measurements were revoked. Only the registry.
    function setFence(address leader, uint48 term, uint16 revision) external;

    /// @notice The registry tells who may run orders and until when. Only the registry.
    function setRunner(address node, address operator, uint40 notAfter, uint16 revision) external;

    /// @notice Funds and claims of a channel; (0, 0, false) when it was never funded or is closed.
    function channelState(bytes32 channelId) external view returns (uint96 depositWei, uint96 claimedWei, bool isOpen);

    /// @notice Adds `msg.value`, or tokens, to an internal balance.
    function deposit(address token, address account, uint256 amount) external payable;

    /// @notice Adds tokens of the caller to an internal balance, by an EIP-2612 permit.
    /// @param permit as `openFor` takes it
    function depositWithPermit(address token, address account, uint256 amount, bytes calldata permit) external;

    /// @notice Pays out of the caller's balance.
    function withdraw(address token, address to, uint256 amount) external;

    /// @notice What an account can withdraw.
    function balanceOf(address token, address account) external view returns (uint256);

    /// @notice How often orders were opened on an offer, and from when on it is revoked (0: never).
    function offerState(bytes32 offerId) external view returns (bool known, uint32 runs, uint64 revokedFrom);

    /// @notice Whether orders can be opened on an offer, and from when on (0: always).
    function offerTimes(bytes32 offerId) external view returns (bool enabled, uint40 validFrom);

    /// @notice The word described above.
    function anchorOf(bytes32 orderId) external view returns (bytes32);

    function registry() external view returns (address);
    function domainSeparator() external view returns (bytes32);
}
