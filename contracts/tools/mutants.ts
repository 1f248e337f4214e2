/** One guard of the contracts, broken. */
export interface Mutant {
  readonly file:
    | "Market.sol"
    | "Registry.sol"
    | "TransparencyLog.sol"
    | "libraries/MerkleLog.sol"
    | "libraries/Sheet.sol"
    | "libraries/Signatures.sol"
    | "libraries/Words.sol";
  /** What no longer holds. */
  readonly guard: string;
  readonly find: string;
  readonly replace: string;
}

function market(guard: string, find: string, replace: string): Mutant {
  return { file: "Market.sol", guard, find, replace };
}

function registry(guard: string, find: string, replace: string): Mutant {
  return { file: "Registry.sol", guard, find, replace };
}

function sheet(guard: string, find: string, replace: string): Mutant {
  return { file: "libraries/Sheet.sol", guard, find, replace };
}

function words(guard: string, find: string, replace: string): Mutant {
  return { file: "libraries/Words.sol", guard, find, replace };
}

/** Every guard that INVARIANTS.md names, each broken in one place. */
export const MUTANTS: readonly Mutant[] = [
  market("only the client opens", "if (msg.sender != head[0].upperAddress()) revert NotClient();", ""),
  market("an order opens once", "if (anchors[orderId] != 0) revert OrderExists(orderId);", ""),
  market("bits of the contract are zero in prices", "head[2] & PRICES_OWN | head[3]", "head[3]"),
  market("bits of the contract are zero in times", "| head[3] & TIMES_OWN != 0", "!= 0"),
  sheet("bits nobody signed are zero in rates", "calldataload(add(words, 0x20)), RATES_ZERO", "0, 0"),
  sheet("bits nobody signed are zero in limits", "calldataload(add(words, 0x60)), LIMITS_ZERO", "0, 0"),
  sheet("a booking is part of the fixed price", "gt(mload(0x280), mload(0x240))", "0"),
  market(
    "a deadline lies ahead",
    "if (passed >= DEADLINE_SECONDS_MAX) _refuseDeadline",
    "if (passed + 1 < 1) _refuseDeadline",
  ),
  market(
    "the deposit covers the highest price",
    "uint256 depositWei = Sheet.depositWei();",
    "uint256 depositWei = wantedWei;",
  ),
  market("shares stay within the whole", "if (sharesBps > Words.BPS_WHOLE) revert SharesExceedWhole();", ""),
  market(
    "a revoked offer opens nothing",
    "if (revokedFrom != 0 && revokedFrom <= block.timestamp) revert OfferWithdrawn(offerId);",
    "",
  ),
  market(
    "runs are limited",
    "if (uint32(slot >> OFFER_RUNS_SHIFT) >= runsMax) revert OfferRunsExhausted(offerId);",
    "",
  ),
  market("runs are counted", "(slot | OFFER_KNOWN) + OFFER_ONE_RUN;", "slot | OFFER_KNOWN;"),
  sheet("an offer expires", "lt(until, timestamp())", "0"),
  sheet("an offer names its token", "gt(xor(mload(0x220), shr(96, pool)), 0)", "0"),
  sheet("an offer has a least duration", "lt(wanted, mload(0x2e0))", "0"),
  sheet("an offer has a longest duration", "gt(wanted, most)", "0"),
  sheet("an offer has a least pool", "lt(and(pool, AMOUNT), mload(0x2a0))", "0"),
  sheet("the order's times are the contract's", ", shl(176, timestamp())", ", 0"),
  market("refused terms are refused", "if (refusal != 0) _refuse(refusal, offerId);", "refusal;"),
  market(
    "a restricted offer is looked at",
    "slot ^ OFFER_KNOWN | Sheet.restrictions() != 0",
    "slot & 0 != 0",
  ),
  market(
    "an offer has its accounts",
    "if (!MerkleProof.verify(path, root, leaf)) revert OfferAccountRefused(offerId);",
    "path; leaf;",
  ),
  market(
    "an unpublished offer is signed",
    "if (!SignatureChecker.isValidSignatureNow(copy[0].upperAddress(), offerId, signature)) {",
    "if (signature.length == 1) {",
  ),
  market("an unknown offer needs a proof", "if (!known || root != 0) {", "if (root != 0) {"),
  market(
    "settlement compares the commitment",
    "if (anchors[orderId] != Words.commitment(words, payees)) revert EscrowMismatch(orderId);",
    "orderId; words; payees;",
  ),
  market("settlement ends the order", "anchors[orderId] = Words.anchor(orderId, report.reportDigest);", ""),
  market("an anchor is a hash", "Words.anchor(orderId, report.reportDigest);", "report.reportDigest;"),
  market("a refund ends the order", "anchors[orderId] = REFUNDED;", ""),
  market(
    "a refund waits for the deadline",
    "if (block.timestamp <= head[3].deadline()) revert DeadlineNotPassed(head[3].deadline());\n        anchors",
    "anchors",
  ),
  market(
    "settlement needs the node's signature",
    "if (Signatures.recover(digest, signature) != assignment.upperAddress()) revert SignatureInvalid();",
    "digest; assignment; signature;",
  ),
  market(
    "settlement needs the leader's signature",
    "if (Signatures.recover(digest, signature) != leader) revert SignatureInvalid();",
    "digest; signature;",
  ),
  words(
    "a stale term settles nothing",
    "iszero(shl(208, xor(shr(48, fence), shr(48, assignment))))",
    "gt(assignment, 0)",
  ),
  words("a leader without standing settles nothing", "gt(shr(96, fence), 0)", "gt(fence, 0)"),
  words("a node that may not run settles nothing", "gt(shr(96, runner), 0)", "gt(fence, 0)"),
  words(
    "a node past its time settles nothing",
    "iszero(gt(timestamp(), and(shr(48, runner), 0xffffffffffff)))",
    "gt(fence, 0)",
  ),
  words("a revoked measurement is looked up", "iszero(shl(208, xor(fence, runner)))", "gt(fence, 0)"),
  market("outcomes are known", "if (outcome > CANCELLED) revert ReportInvalid();", ""),
  market("seconds are bounded by time", "if (secondsUsed > passed) secondsUsed = passed;", "passed;"),
  market(
    "seconds are bounded by the order",
    "return secondsUsed > prices.secondsMax() ? prices.secondsMax() : secondsUsed;",
    "return secondsUsed;",
  ),
  market("a failure pays no seconds", "outcome == FAILED || secondsUsed", "secondsUsed"),
  market("paid seconds are not paid again", "? 0 : secondsUsed - secondsPaid;", "? 0 : secondsUsed;"),
  market("claims are subtracted at the end", " - head[3].lowerAmount() - paidWei;", " - paidWei;"),
  market("a claim is recorded in seconds", "words[2] += payable_ - words[2].secondsPaid();", ""),
  market("a claim is recorded in money", "words[3] += paidWei;", ""),
  market(
    "a share is a share of the pool",
    "pool.lowerAmount() * rates.shareBps() / Words.BPS_WHOLE",
    "pool.lowerAmount()",
  ),
  market(
    "a booking is all that a failure costs",
    "amount += rates.middleAmount();",
    "amount += payee.lowerAmount();",
  ),
  market(
    "an extension covers the highest price",
    "if (depositWei < wantedWei) revert DepositTooSmall(depositWei, wantedWei);\n        anchors",
    "anchors",
  ),
  market("a cancellation only shortens", "if (deadline >= words[3].deadline()) revert DeadlinePassed();", ""),
  market("forfeiture follows a refund", "if (anchors[orderId] != REFUNDED) revert EvidenceRejected();", ""),
  market("forfeiture happens once", "anchors[orderId] = FORFEITED;", ""),
  market("two reports must differ", "hashA == hashB || nodeA != nodeB", "nodeA != nodeB"),
  market("two reports are of one node", "|| nodeA != nodeB ||", "||"),
  market(
    "coin sent is the deposit",
    "|| msg.value != amount) revert ValueMismatch();\n            return;",
    ") revert ValueMismatch();\n            return;",
  ),
  market("a transfer is measured", "if (received != amount) revert TransferShort(received, amount);", ""),
  market("no more is credited than asked for", "if (received > amount) received = amount;", ""),
  market(
    "a measured transfer is guarded",
    "uint256 amount) private nonReentrant returns (uint256 received)",
    "uint256 amount) private returns (uint256 received)",
  ),
  market(
    "a balance bounds a withdrawal",
    "if (balance < amount) revert BalanceTooLow(balance, amount);",
    "unchecked {} if (balance < amount) amount = balance;",
  ),
  market("a voucher is newer", "if (cumulativeWei <= slot.claimedWei) revert", "if (false) revert"),
  market("a voucher is covered", "if (cumulativeWei > slot.depositWei) revert", "if (false) revert"),
  market(
    "a channel closes after its expiry",
    "if (block.timestamp < channel.expiry) revert",
    "if (false) revert",
  ),
  market("a channel closes once", "channels[channelId].isOpen = false;", ""),
  market(
    "only the registry moves the fence",
    "if (msg.sender != address(REGISTRY)) revert NotRegistry();\n        fence",
    "fence",
  ),
  registry("terms grow", "if (term <= fence.term) revert TermStale(term, fence.term);", ""),
  registry("a term has a quorum", "if (signatures.length < quorum()) revert", "if (false) revert"),
  registry("a quorum is a majority", "return voterCount / 2 + 1;", "return voterCount / 2;"),
  registry("voters are distinct", "if (voter <= last) revert SignersNotAscending();", ""),
  registry("voters are members", "if (!_isVoter(voter)) revert VoterUnknown(voter);", ""),
  registry("builders reach their threshold", "if (signatures.length < wanted) revert", "if (false) revert"),
  registry(
    "approvals wait for the delay",
    "uint64(block.timestamp) + delaySeconds;",
    "uint64(block.timestamp);",
  ),
  registry(
    "changes wait for the delay",
    "if (block.timestamp < effectiveAt) revert DecisionNotYetEffective(effectiveAt);",
    "",
  ),
  registry("a revoked measurement is out of force", "&& !approval.revoked;", ";"),
  registry(
    "a revocation moves the revision on",
    "revision == type(uint16).max ? revision : revision + 1",
    "revision",
  ),
  registry(
    "certificates are newer",
    "if (certificate.issuedAt <= stake.issuedAt) revert",
    "if (false) revert",
  ),
  registry("nodes have stake", "stakeWei < nodeStakeWei ||", ""),
  registry("barred nodes stay out", "if (state.status == BARRED) revert NodeBarred(certificate.node);", ""),
  registry(
    "stake stays locked",
    "if (releasableAt == 0 || block.timestamp < releasableAt) revert",
    "if (releasableAt == 0) revert",
  ),
  registry("only the market slashes", "if (msg.sender != market) revert NotMarket();", ""),
  registry("two votes must differ", "candidateA == candidateB ||", ""),
  registry("epochs of a group grow", "if (group.epoch <= state.epoch) revert", "if (false) revert"),
  registry("rewards leave the kitty", "kittyWei -= shareDown;", ""),
  {
    file: "TransparencyLog.sol",
    guard: "a root extends the last",
    find: "if (!MerkleLog.extends(size, root, checkpoint.size, checkpoint.root, proof)) revert ConsistencyInvalid();",
    replace: "proof;",
  },
  {
    file: "TransparencyLog.sol",
    guard: "an authority signs roots",
    find: "if (!registry.isAuthority(authority)) revert AuthorityNotApproved(authority);",
    replace: "",
  },
  {
    file: "libraries/Signatures.sol",
    guard: "a signature has one form only",
    find: "mul(mload(0x00), iszero(gt(s, most)))",
    replace: "mload(0x00)",
  },
  {
    file: "libraries/MerkleLog.sol",
    guard: "inclusion ends at the root",
    find: "return sn == 0 && hash == root;",
    replace: "return sn == 0;",
  },
];
