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
  /** Why no test can notice, where none can. */
  readonly equivalent?: string;
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
  market("an order opens once", "if (anchors[orderId] == 0) {", "if (orderId != 0) {"),
  market("bits of the contract are zero in prices", "head[2] & PRICES_OWN | head[3]", "head[3]"),
  market("bits of the contract are zero in times", "| head[3] & TIMES_OWN != 0", "!= 0"),
  sheet("bits nobody signed are zero in rates", "calldataload(add(words, 0x20)), RATES_ZERO", "0, 0"),
  sheet("bits nobody signed are zero in limits", "calldataload(add(words, 0x60)), LIMITS_ZERO", "0, 0"),
  sheet("a booking is part of the fixed price", "gt(mload(0x480), mload(0x440))", "0"),
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
  sheet("an offer names its token", "gt(xor(mload(0x420), shr(96, pool)), 0)", "0"),
  sheet("an offer has a least duration", "lt(wanted, mload(0x4e0))", "0"),
  sheet("an offer has a longest duration", "gt(wanted, most)", "0"),
  sheet("an offer has a least pool", "lt(and(pool, AMOUNT), mload(0x4a0))", "0"),
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
    "whoever goes on with an order brings its words",
    "if (anchors[orderId] != Words.commitment(words, payees)) revert EscrowMismatch(orderId);",
    "orderId; words; payees;",
  ),
  market("settlement ends the order", "anchors[orderId] = Words.anchor(orderId, report.reportDigest);", ""),
  market("an anchor is a hash", "Words.anchor(orderId, report.reportDigest);", "report.reportDigest;"),
  market("a refund ends the order", "anchors[orderId] = REFUNDED;", ""),
  market(
    "a refund waits for the deadline",
    "if (block.timestamp <= end) revert DeadlineNotPassed(end);\n        anchors",
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
  registry("a revoked measurement is out of force", "&& approval.revokedAt == 0;", ";"),
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
  market(
    "an order in another's name is signed",
    "if (msg.sender != client && !SignatureChecker.isValidSignatureNow(client, orderId, signature)) {",
    "if (msg.sender == address(0) && signature.length == 0) {",
  ),
  market("an order has slots", "if (head[3].slots() == 0) revert SlotsInvalid();", ""),
  market(
    "one report ends one slot",
    "if (head[3].slots() != 1) revert SlotsInvalid();\n        _settle(orderId",
    "_settle(orderId",
  ),
  market("every slot has its node", "if (times.slots() != more.length + 1) revert SlotsInvalid();", "times;"),
  market(
    "slots are of different nodes",
    "if (node <= last || node == assignment.upperAddress()) revert SlotsInvalid();",
    "",
  ),
  market("a slot's seconds end with the order's", "used < most ? used : most", "used"),
  market(
    "slots are subtracted at the end",
    "uint256 paidWei = slotsWei + _payShares",
    "slotsWei; uint256 paidWei = _payShares",
  ),
  market(
    "a revoked slot is not paid",
    "if (operators[i] == address(0)) continue;",
    "if (operators[i] == address(0)) operators[i] = more[i].upperAddress();",
  ),
  sheet(
    "the deposit covers every slot",
    "mul(slots, add(shr(160, prices), timed))",
    "add(shr(160, prices), timed)",
  ),
  market(
    "an extension covers every slot",
    "+ words[3].slots() * (words[2].upperAmount()",
    "+ 1 * (words[2].upperAmount()",
  ),
  market(
    "an order starts once",
    "if (words[3].state() & STARTED != 0 || words[2].secondsPaid() != 0) revert AlreadyStarted();",
    "",
  ),
  market(
    "seconds count from the start",
    "words[3].withOpenedAt(block.timestamp).withState(STARTED)",
    "words[3].withState(STARTED)",
  ),
  market(
    "seconds end with the deadline",
    "block.timestamp < times.deadline() ? block.timestamp : times.deadline()",
    "block.timestamp",
  ),
  market("a service has its grace period", "(graced ? GRACE_SECONDS : 0)", "(graced ? 0 : 0)"),
  market("an ending service has no grace period", "&& times.state() & ENDING == 0", ""),
  market("an extension ends in the future", "if (deadline < block.timestamp) revert DeadlinePassed();", ""),
  market(
    "a changed consent waits for its time",
    "if (uint40(slot >> OFFER_VALID_SHIFT) > block.timestamp) revert OfferNotYetValid(offerId);",
    "",
  ),
  market(
    "a disabled offer opens nothing",
    "if (slot & OFFER_DISABLED != 0) revert OfferDisabled(offerId);",
    "",
  ),
  market(
    "a change is the owner's",
    "_requireOwner(owner, offerId, _digest(hash), signature);\n        if (offerSlots",
    "hash; signature; if (offerSlots",
  ),
  market(
    "a revocation is the owner's",
    "_requireOwner(owner, offerId, _digest(hash), signature);\n        _revoke(offerId, owner, fromTime);",
    "hash; signature; _revoke(offerId, owner, fromTime);",
  ),
  market("a change leads to a new offer", "if (offerSlots[nextId] != 0) revert OfferExists(nextId);", ""),
  market("a change is within one owner's offers", "if (next.owner != owner) revert NotOwner();", ""),
  market(
    "a revocation is not taken back",
    "if (before != 0 && before <= from) revert OfferWithdrawn(offerId);",
    "before;",
  ),
  market(
    "only the owner disables",
    "if (msg.sender != owner) revert NotOwner();\n        uint256 slot",
    "uint256 slot",
  ),
  market("a late report is of an order opened later", "head[3].openedAt() <= lateAfter ||", ""),
  registry("no reorganisation makes a report late", ": ofMeasurement) + LATE_SECONDS", ": ofMeasurement)"),
  market(
    "a start proves no time",
    "|| head[3].state() & STARTED != 0) {\n            revert Evidence",
    ") {\n            revert Evidence",
  ),
  market("a late report is of a revoked node", "lateAfter == 0 || head", "head"),
  market("a kind is known", "if (offer.kind > KIND_LAST) revert OfferTermsInvalid();", ""),
  registry("what is left of a stake is taken once", "if (stakeWei == 0) revert EvidenceRejected();", ""),
  registry("a revocation is dated", "stakes[node].revokedAt = uint40(block.timestamp);", ""),
  market(
    "settlement compares the commitment",
    "if (anchors[orderId] != Words.commitmentOf(head, payees)) revert EscrowMismatch(orderId);\n        if (block",
    "if (block",
  ),
  market(
    "a refund compares the commitment",
    "if (anchors[orderId] != Words.commitmentOf(head, payees)) revert EscrowMismatch(orderId);\n        uint256 end",
    "uint256 end",
  ),
  market(
    "evidence compares the commitment",
    "if (anchors[orderId] != Words.commitmentOf(head, payees)) revert EscrowMismatch(orderId);\n        (, address",
    "payees; (, address",
  ),
  market("a report is in time", "if (block.timestamp > head[3].deadline()) revert DeadlinePassed();", ""),
  market("a claim is newer", "if (payable_ <= words[2].secondsPaid()) revert ReportInvalid();", ""),
  market(
    "a claim ends with the grace period",
    "if (block.timestamp > _endOf(words[2], words[3])) revert DeadlinePassed();\n        uint256 payable_",
    "uint256 payable_",
  ),
  market(
    "only the client extends and cancels",
    "if (msg.sender != words[0].upperAddress()) revert NotClient();",
    "",
  ),
  market(
    "what ended is not extended",
    "if (block.timestamp > _endOf(words[2], words[3])) revert DeadlinePassed();\n    }",
    "}",
  ),
  market(
    "an extension only lengthens",
    "if (deadline < words[3].deadline()) revert DeadlineNotPassed(words[3].deadline());",
    "",
  ),
  market(
    "an extension fits its words",
    "if (depositWei > type(uint96).max || secondsMax > type(uint32).max) revert WordsInvalid();",
    "",
  ),
  market("a start is in time", "if (block.timestamp > words[3].deadline()) revert DeadlinePassed();", ""),
  market("a batch ends orders with one slot", "if (item.head[3].slots() != 1) revert SlotsInvalid();", ""),
  market(
    "a forfeiture needs the leader's word",
    "if (leader == address(0) || Signatures.recover(_digest(hash), leaderSignature) != leader) {",
    "leaderSignature; if (leader == address(0)) {",
  ),
  registry(
    "a past term has no leader",
    "return term == fence.term ? fence.leader : address(0);",
    "return term <= fence.term ? fence.leader : address(0);",
  ),
  registry(
    "what the builders revoked forfeits nothing",
    "if (measurements[nodes[node].measurementIndex].revokedAt != 0) revert EvidenceRejected();\n        uint256",
    "uint256",
  ),
  market(
    "no order is extended beyond what its offers allow",
    "if (most != 0 && secondsMax > most) revert SecondsRefused(secondsMax, most);",
    "most;",
  ),
  sheet("a payee's words say how long its offer allows", "or(rates, mload(0x500))", "rates"),
  market("a member is one of the batch", "if (!found) revert EvidenceRejected();", "found;"),
  market(
    "nobody signs no report",
    "|| nodeA == address(0)) revert EvidenceRejected();",
    ") revert EvidenceRejected();",
  ),
  market(
    "only the consumer funds its channel",
    "if (msg.sender != channel.consumer) revert NotClient();",
    "",
  ),
  market(
    "an expired channel takes no money",
    "if (block.timestamp >= channel.expiry) revert DeadlinePassed();",
    "",
  ),
  market(
    "a voucher is the consumer's",
    "if (Signatures.recover(digest, signature) != channel.consumer) revert SignatureInvalid();",
    "digest; signature;",
  ),
  market(
    "a closed channel pays nothing",
    "if (!slot.isOpen) revert ChannelUnknown(channelId);\n        if (cumulativeWei <=",
    "if (cumulativeWei <=",
  ),
  market(
    "a channel returns its rest once",
    "if (!slot.isOpen) revert ChannelUnknown(channelId);\n        if (block",
    "if (block",
  ),
  market("a split is paid out once", "_debit(token, split, paid);", "split;"),
  market("a split is a whole", "if (total != Words.BPS_WHOLE) revert SplitInvalid();", ""),
  market("coin that is deposited arrived", "if (msg.value != amount) revert ValueMismatch();", ""),
  market(
    "only the registry names runners",
    "if (msg.sender != address(REGISTRY)) revert NotRegistry();\n        runners",
    "runners",
  ),
  market(
    "a withdrawal is guarded",
    "function withdraw(address token, address to, uint256 amount) external nonReentrant {",
    "function withdraw(address token, address to, uint256 amount) external {",
  ),
  registry("a leader is a voter", "if (!_isVoter(leader)) revert VoterUnknown(leader);", ""),
  registry("epochs of rewards grow", "if (epoch <= rewardEpoch) revert EpochStale(epoch, rewardEpoch);", ""),
  registry(
    "epochs of rewards are an hour apart",
    "if (block.timestamp < rewardedAt + REWARD_EPOCH_SECONDS) {",
    "if (false) {",
  ),
  registry(
    "a node is rewarded once",
    "if (i != 0 && nodes_[i] <= nodes_[i - 1]) revert WeightsInvalid();",
    "",
  ),
  registry(
    "rewards have a quorum",
    "_requireQuorum(_digest(keccak256(abi.encode(REWARDS_TYPEHASH, epoch, nodesHash, weightsHash))), signatures);",
    "nodesHash; weightsHash; signatures;",
  ),
  registry("an epoch has a budget", "kittyWei < rewardWei ? kittyWei : rewardWei", "kittyWei"),
  registry(
    "barred nodes are not rewarded",
    "operator == address(0) || nodes[nodes_[i]].status == BARRED",
    "operator == address(0)",
  ),
  registry("rewards are withdrawn once", "rewardsOf[msg.sender] = 0;", ""),
  registry(
    "a group is of the current term",
    "if (group.term != fence.term) revert TermStale(group.term, fence.term);",
    "",
  ),
  registry(
    "a group is the leader's",
    "if (Signatures.recover(_digest(structHash), signature) != leader) revert SignatureInvalid();",
    "structHash; signature;",
  ),
  registry(
    "members of a group are active",
    "if (!isActive(group.members[i])) revert NodeNotActive(group.members[i]);",
    "",
  ),
  registry(
    "a goal has one owner",
    "if (owner != address(0) && owner != msg.sender) revert NotGoalOwner();",
    "",
  ),
  registry(
    "certificates are an authority's",
    "if (!isAuthority(authority)) revert AuthorityNotApproved(authority);",
    "authority;",
  ),
  registry(
    "an operator brings its own certificates",
    "if (msg.sender != certificate.operator) revert NotOperator();",
    "",
  ),
  registry(
    "a node keeps its operator",
    "if (state.operator != address(0) && state.operator != certificate.operator) revert NotOperator();",
    "",
  ),
  registry(
    "certificates are in time",
    "if (certificate.notAfter < block.timestamp || certificate.notAfter >",
    "if (certificate.notAfter >",
  ),
  registry(
    "nodes run what is approved",
    "if (!isMeasurementApproved(certificate.measurement)) revert MeasurementNotApproved(certificate.measurement);",
    "",
  ),
  registry(
    "a revocation is signed",
    "if (!byAuthority) _requireBuilders(digest, signatures, revokeThreshold);",
    "byAuthority;",
  ),
  registry(
    "a node that holds is not pruned",
    "if (state.status != ACTIVE || _holds(state)) revert NodeStillActive(node);",
    "if (state.status != ACTIVE) revert NodeStillActive(node);",
  ),
  registry("only the operator exits", "if (msg.sender != state.operator) revert NotOperator();", ""),
  registry("stake is released once", "stake.stakeWei = 0;\n        stake.releasableAt = 0;", ""),
  registry(
    "a decision is of its round",
    "if (decision.round != round) revert RoundStale(decision.round, round);\n        bytes32 digest = _decisionDigest(decision);\n        bool",
    "bytes32 digest = _decisionDigest(decision);\n        bool",
  ),
  registry("builders are builders", "if (!isBuilder[builder]) revert SignatureInvalid();", ""),
  registry("builders are distinct", "if (builder <= last) revert SignersNotAscending();", ""),
  registry(
    "what widens trust takes the threshold",
    "narrows ? revokeThreshold : threshold",
    "revokeThreshold",
  ),
  registry(
    "a threshold stays reachable",
    "builderCount < threshold && !member || builderCount > BUILDERS_MAX",
    "builderCount > BUILDERS_MAX",
  ),
  registry(
    "parameters have bounds",
    "if (value < min || value > max) revert ConfigOutOfBounds();",
    "min; max;",
  ),
  registry(
    "a leader without standing voids its term",
    "if (fence.leader != node || node == address(0)) return;",
    "if (node != address(0)) return;",
  ),
  registry("a node without standing runs nothing", "_setRunner(node, address(0), 0);", ""),
  registry(
    "the market learns of a new term",
    "IMarket(market).setFence(leader, uint48(term), revision);",
    "",
  ),
  registry(
    "a looked-up term is the current one",
    "if (term != fence.term) revert TermStale(term, fence.term);",
    "",
  ),
  registry("a forfeiture takes a part", "stakeWei < forfeitWei ? stakeWei : forfeitWei", "stakeWei"),
  registry(
    "a double voter is barred",
    "_deactivate(node, state, BARRED, REASON_SLASHED);\n        _takeStake",
    "_takeStake",
  ),
  registry("what is taken goes to the kitty", "kittyWei += amountWei;", ""),
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
    equivalent:
      "255 bits hold no second form but of an s within 2^127 of half the order, which nobody finds; the check is for that",
  },
  {
    file: "libraries/Signatures.sol",
    guard: "a signature of 65 bytes has one form only",
    find: "if (uint256(s) > S_MAX) return address(0);",
    replace: "",
  },
  {
    file: "libraries/MerkleLog.sol",
    guard: "inclusion ends at the root",
    find: "return sn == 0 && hash == root;",
    replace: "return sn == 0;",
  },
  {
    file: "TransparencyLog.sol",
    guard: "a root is of a larger log",
    find: "if (checkpoint.size <= size) revert CheckpointStale(checkpoint.size, size);",
    replace: "",
  },
  {
    file: "libraries/MerkleLog.sol",
    guard: "an index lies in the log",
    find: "if (index >= size) return false;",
    replace: "",
  },
  {
    file: "libraries/MerkleLog.sol",
    guard: "a longer log begins as the old one",
    find: "oldHash == root && newHash == newRoot",
    replace: "newHash == newRoot",
  },
];
