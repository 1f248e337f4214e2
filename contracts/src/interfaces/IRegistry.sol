// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title  Registry: who may take part, what may run, and who leads.
/// @notice Holds the approved measurements, the certification authorities, the registered nodes with
///         their stake, the leader's term (the fence of the swarm) and the groups' epochs.
///         Nobody owns it. Builders decide, k of m, and every decision that widens trust takes effect
///         only after a public delay; a decision that narrows it takes effect at once.
/// @dev    All statements are EIP-712 under the domain
///         {name: "Cloister Registry", version: "1", chainId, verifyingContract: this}.
///         Signatures are 65 bytes r‖s‖v with v 27 or 28 and s in the lower half.
///         Assumptions: block timestamps are off by at most seconds; builders are fewer than k dishonest;
///         a certification authority signs only for keys that an appraised CVM made.
interface IRegistry {
    /// @notice What a certification authority says about one node.
    /// @param node              address of the settlement key that the CVM made; it is the node's id
    /// @param operator          who stakes for the node, pays its gas and receives its rewards
    /// @param keysDigest        SHA-256 of the canonical document of all keys of the node
    /// @param certificateDigest SHA-256 of the DER of the X.509 certificate that carries the evidence
    /// @param measurement       SHA-256 that names the measured software
    /// @param roles             bit 0: votes for leaders; bit 1: runs orders; bit 2: releases keys
    /// @param issuedAt          seconds since 1970; a later certificate replaces an earlier one
    /// @param notAfter          seconds since 1970; from then on the node is not active
    struct NodeCertificate {
        address node;
        address operator;
        bytes32 keysDigest;
        bytes32 certificateDigest;
        bytes32 measurement;
        uint8 roles;
        uint64 issuedAt;
        uint64 notAfter;
    }

    /// @notice A voter gives a term to a candidate. An honest voter signs one vote per term.
    struct Vote {
        uint64 term;
        address candidate;
    }

    /// @notice A goal's members, as the leader of `term` formed them. Signed by that leader.
    struct Group {
        string goalId;
        uint64 epoch;
        uint64 term;
        address[] members;
    }

    /// @notice What builders decide by signature.
    /// @param kind    one of the DECISION constants in Registry
    /// @param subject a measurement, or an address or a parameter number as bytes32
    /// @param value   the new value of a parameter or threshold; otherwise 0
    /// @param round   the contract's `round()`; it moves on with each change of builders or parameters,
    ///                so that no old signature can be presented again
    struct Decision {
        uint8 kind;
        bytes32 subject;
        uint256 value;
        uint64 round;
    }

    /// @notice What is fixed at deployment. Bounds are checked by the constructor.
    /// @param market            the one contract that may report forfeited orders
    /// @param builders          who decides
    /// @param threshold         how many builders must sign to widen trust
    /// @param revokeThreshold   how many builders must sign to narrow it, at most `threshold`
    /// @param delaySeconds      from a decision to its effect: builders can make it longer, never shorter than this
    /// @param exitDelaySeconds  from a node's exit to the release of its stake
    /// @param nodeStakeWei      least stake of one node, in the native coin
    /// @param forfeitWei        stake that one order without a report costs its node
    /// @param rewardWei         most that one epoch of rewards takes out of the kitty
    /// @param authorities       certification authorities from the first block on
    /// @param measurements      approved measurements from the first block on
    struct Config {
        address market;
        address[] builders;
        uint8 threshold;
        uint8 revokeThreshold;
        uint32 delaySeconds;
        uint32 exitDelaySeconds;
        uint96 nodeStakeWei;
        uint96 forfeitWei;
        uint96 rewardWei;
        address[] authorities;
        bytes32[] measurements;
    }

    event MeasurementApproved(bytes32 indexed measurement, uint64 effectiveAt);
    event MeasurementRevoked(bytes32 indexed measurement);
    event AuthorityApproved(address indexed authority, uint64 effectiveAt);
    event AuthorityRevoked(address indexed authority);
    /// @param decision EIP-712 digest of the decision
    event DecisionAnnounced(
        bytes32 indexed decision, uint8 indexed kind, bytes32 indexed subject, uint256 value, uint64 effectiveAt
    );
    event DecisionEnacted(uint8 indexed kind, bytes32 indexed subject, uint256 value, uint64 round);

    event NodeRegistered(
        address indexed node,
        address indexed operator,
        bytes32 keysDigest,
        bytes32 certificateDigest,
        bytes32 measurement,
        uint8 roles,
        uint64 issuedAt,
        uint64 notAfter,
        string endpoint
    );
    event NodeEndpointChanged(address indexed node, string endpoint);
    /// @param reason 1 revoked by an authority or the builders, 2 expired or measurement revoked (pruned),
    ///               3 exit asked for by the operator, 4 stake below the least, 5 slashed
    event NodeDeactivated(address indexed node, uint8 reason);
    event StakeChanged(address indexed node, uint256 stakeWei);
    event StakeReleased(address indexed node, address indexed operator, uint256 amountWei);
    /// @param reason 1 two votes in one term, 2 two reports for one order, 3 an order without a report, 4 a report
    ///               for an order that was opened after the node or its measurement was revoked
    event NodeSlashed(address indexed node, uint8 reason, uint256 amountWei);
    event KittyChanged(uint256 kittyWei);

    /// @param shares what each node's operator was credited
    event RewardsPaid(uint64 indexed epoch, address[] nodes, uint256[] shares);
    event RewardWithdrawn(address indexed operator, address to, uint256 amountWei);

    event TermStarted(uint64 indexed term, address indexed leader, uint256 votes, uint256 voters);
    /// @notice The leader lost its standing before the term ended; the term can sign nothing any more.
    event TermVoided(uint64 indexed term, address indexed leader);
    event GoalDeclared(bytes32 indexed goal, address indexed owner, string goalId, bytes document);
    event GroupFormed(bytes32 indexed goal, uint64 indexed epoch, uint64 term, string goalId, address[] members);

    error ConfigOutOfBounds();
    error SignatureInvalid();
    error SignersNotAscending();
    error ThresholdNotMet(uint256 got, uint256 wanted);
    error RoundStale(uint64 got, uint64 current);
    error DecisionUnknown();
    error DecisionAlreadyTaken();
    error DecisionNotYetEffective(uint64 effectiveAt);
    error MeasurementNotApproved(bytes32 measurement);
    error AuthorityNotApproved(address signer);
    error CertificateExpired(uint64 notAfter);
    error CertificateNotNewer(uint64 issuedAt);
    error NotOperator();
    error NodeNotActive(address node);
    error NodeStillActive(address node);
    error NodeBarred(address node);
    error StakeTooLow(uint256 gotWei, uint256 wantedWei);
    error StakeLocked(uint64 until);
    error TermStale(uint64 got, uint64 current);
    error LeaderVoid();
    error VoterUnknown(address voter);
    error QuorumNotMet(uint256 got, uint256 wanted);
    error EpochStale(uint64 got, uint64 current);
    error NotGoalOwner();
    error NotMarket();
    error EvidenceRejected();
    error EpochTooSoon(uint64 at);
    error WeightsInvalid();
    error NothingOwed();
    error TransferFailed();

    /// @notice Takes a decision of the builders. Approvals take effect after the delay, revocations now.
    ///         Changes of builders and parameters are announced and wait for `enact`.
    /// @param signatures of distinct builders over `decision`, ascending by signer
    function decide(Decision calldata decision, bytes[] calldata signatures) external;

    /// @notice Carries out an announced change of builders or parameters once its delay is over.
    function enact(Decision calldata decision) external;

    /// @notice Registers a node or renews its certificate. Called by its operator; `msg.value` adds to the stake.
    /// @param signature of an approved certification authority over `certificate`
    /// @param endpoint  where peers find the node; a hint that nobody needs to trust
    function registerNode(NodeCertificate calldata certificate, bytes calldata signature, string calldata endpoint)
        external
        payable;

    /// @notice Changes where peers find the node. Only its operator.
    function setEndpoint(address node, string calldata endpoint) external;

    /// @notice Revokes a node at once, for good.
    /// @param signatures one of an approved authority, or `revokeThreshold` of builders, over
    ///                   NodeRevocation{address node}
    function revokeNode(address node, bytes[] calldata signatures) external;

    /// @notice Takes an expired node, or one whose measurement is revoked, out of the voters. Anybody.
    function prune(address node) external;

    /// @notice The operator takes a node out; its stake stays liable until the exit delay is over.
    function exit(address node) external;

    /// @notice Pays the stake of a node that left to its operator.
    function releaseStake(address node) external;

    /// @notice Starts a term. The votes are the certificate: a majority of all active voters.
    /// @param signatures over Vote{term, leader}, ascending by voter
    function startTerm(uint64 term, address leader, bytes[] calldata signatures) external;

    /// @notice Shares one epoch's budget among nodes, by weights that a majority of the voters signed: each got
    ///         them from the attested heartbeats and settled orders it saw. Operators withdraw their rewards.
    /// @param nodes      ascending
    /// @param signatures over EpochRewards(uint64 epoch,address[] nodes,uint32[] weights), ascending by voter
    function payRewards(
        uint64 epoch,
        address[] calldata nodes,
        uint32[] calldata weights,
        bytes[] calldata signatures
    ) external;

    /// @notice Pays the caller's rewards.
    function withdrawRewards(address to) external;

    /// @notice Adds to the kitty.
    function fundKitty() external payable;

    /// @notice Declares a goal that the swarm should form a group for, or changes it (its owner only).
    function declareGoal(string calldata goalId, bytes calldata document) external;

    /// @notice Commits a group's configuration. The epoch must grow and the term must be the current one.
    /// @param signature of the term's leader over `group`
    function formGroup(Group calldata group, bytes calldata signature) external;

    /// @notice Slashes a voter that gave one term to two candidates. Anybody may bring the two signatures.
    function proveDoubleVote(
        uint64 term,
        address candidateA,
        bytes calldata signatureA,
        address candidateB,
        bytes calldata signatureB
    ) external;

    /// @notice Moves stake of a node into the kitty. Only the market, which has checked the evidence.
    /// @param reason 2 two reports for one order, 3 an order without a report, 4 a report of a revoked node
    function slash(address node, uint8 reason) external;

    /// @notice Says whom an assignment of `term` to `node` must be signed by and who is paid for it.
    /// @dev    Reverts with TermStale, LeaderVoid or NodeNotActive. The only call on the path of a settlement.
    function authorize(address node, uint64 term) external view returns (address leader, address operator);

    /// @notice Who leads a term; 0 when it is not the current one, or when its leader lost its standing.
    function leaderOf(uint64 term) external view returns (address);

    /// @notice From when on a report for a newly opened order is evidence against a node: some minutes after its
    ///         certificate or its measurement was revoked; 0 when neither is.
    function lateAfter(address node) external view returns (uint64);

    function isAuthority(address signer) external view returns (bool);
    function isMeasurementApproved(bytes32 measurement) external view returns (bool);
    function isActive(address node) external view returns (bool);
    function currentTerm() external view returns (uint64 term, address leader);
    function voterCount() external view returns (uint256);
    function quorum() external view returns (uint256);
    function groupOf(bytes32 goal) external view returns (uint64 epoch, uint64 term, bytes32 membersHash);
    function round() external view returns (uint64);
    function market() external view returns (address);
    function rewardsOf(address operator) external view returns (uint256);
    function kittyWei() external view returns (uint256);
    function stakeOf(address node) external view returns (uint256 stakeWei, uint64 releasableAt);
    function domainSeparator() external view returns (bytes32);
}
