// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Typed} from "./libraries/Typed.sol";

contract Registry is IRegistry, Typed {
    uint8 public constant DECISION_APPROVE_MEASUREMENT = 1;
    uint8 public constant DECISION_REVOKE_MEASUREMENT = 2;
    uint8 public constant DECISION_APPROVE_AUTHORITY = 3;
    uint8 public constant DECISION_REVOKE_AUTHORITY = 4;
    uint8 public constant DECISION_ADD_BUILDER = 5;
    uint8 public constant DECISION_REMOVE_BUILDER = 6;
    uint8 public constant DECISION_SET_THRESHOLD = 7;
    uint8 public constant DECISION_SET_REVOKE_THRESHOLD = 8;
    uint8 public constant DECISION_SET_NODE_STAKE = 9;
    uint8 public constant DECISION_SET_FORFEIT = 10;
    uint8 public constant DECISION_SET_DELAY = 11;
    uint8 public constant DECISION_SET_REWARD = 12;

    uint8 public constant ROLE_VOTER = 1;
    uint8 public constant ROLE_RUNNER = 2;
    uint8 public constant ROLE_KEY_RELEASE = 4;

    uint256 public constant BUILDERS_MAX = 32;
    uint256 public constant DELAY_SECONDS_MAX = 90 days;
    uint256 public constant EXIT_DELAY_SECONDS_MAX = 365 days;
    uint256 public constant NODE_STAKE_WEI_MAX = 1e24;
    uint256 public constant REWARD_EPOCH_SECONDS = 1 hours;
    /// More than a reorganisation of the chain can turn: a revocation and an order that are this far apart keep
    /// their sequence.
    uint64 public constant LATE_SECONDS = 10 minutes;
    uint256 public constant GROUP_MEMBERS_MAX = 256;
    uint256 public constant TEXT_BYTES_MAX = 256;

    bytes32 private constant CERTIFICATE_TYPEHASH = keccak256(
        "NodeCertificate(address node,address operator,bytes32 keysDigest,bytes32 certificateDigest,bytes32 measurement,uint8 roles,uint64 issuedAt,uint64 notAfter)"
    );
    bytes32 private constant REVOCATION_TYPEHASH = keccak256("NodeRevocation(address node)");
    bytes32 private constant VOTE_TYPEHASH = keccak256("Vote(uint64 term,address candidate)");
    bytes32 private constant GROUP_TYPEHASH =
        keccak256("Group(string goalId,uint64 epoch,uint64 term,address[] members)");
    bytes32 private constant REWARDS_TYPEHASH =
        keccak256("EpochRewards(uint64 epoch,address[] nodes,uint32[] weights)");
    bytes32 private constant DECISION_TYPEHASH =
        keccak256("Decision(uint8 kind,bytes32 subject,uint256 value,uint64 round)");

    uint8 private constant ACTIVE = 1;
    uint8 private constant INACTIVE = 2;
    uint8 private constant LEAVING = 3;
    uint8 private constant BARRED = 4;

    uint8 private constant REASON_REVOKED = 1;
    uint8 private constant REASON_PRUNED = 2;
    uint8 private constant REASON_EXIT = 3;
    uint8 private constant REASON_STAKE = 4;
    uint8 private constant REASON_SLASHED = 5;

    uint8 private constant SLASH_DOUBLE_VOTE = 1;
    uint8 private constant SLASH_DOUBLE_REPORT = 2;
    uint8 private constant SLASH_NO_REPORT = 3;
    uint8 private constant SLASH_REVOKED = 4;

    struct NodeState {
        address operator;
        uint40 notAfter;
        uint24 measurementIndex;
        uint8 roles;
        uint8 status;
    }

    struct StakeState {
        uint96 stakeWei;
        uint40 releasableAt;
        uint64 issuedAt;
        uint40 revokedAt;
    }

    struct Approval {
        uint64 effectiveAt;
        uint64 revokedAt;
    }

    /// What every write of a leader is held against. `revision` counts revoked measurements and stops at its
    /// highest value, from which on it vouches for nothing.
    struct Fence {
        address leader;
        uint64 term;
        uint16 revision;
    }

    struct GroupState {
        uint64 epoch;
        uint64 term;
        bytes32 membersHash;
    }

    address public immutable market;

    Fence private fence;
    mapping(address node => NodeState) private nodes;
    mapping(address node => StakeState) private stakes;
    mapping(address builder => bool) public isBuilder;
    // Proofs read the next three, by their positions 4, 5 and 6 (spec/proof-file.md): nothing may move them.
    /// Index 0 is never used, so that a measurement without an index is unknown.
    Approval[] private measurements;
    mapping(bytes32 measurement => uint24 index) private measurementIndexes;
    mapping(address authority => Approval) private authorities;
    mapping(bytes32 decision => uint64 effectiveAt) private announced;
    mapping(bytes32 goal => address owner) public goalOwners;
    mapping(bytes32 goal => GroupState) private groups;

    uint256 public voterCount;
    uint256 public kittyWei;
    uint64 public round;
    uint32 public delaySeconds;
    uint32 public immutable exitDelaySeconds;
    uint32 public immutable delaySecondsMin;
    uint8 public builderCount;
    uint8 public threshold;
    uint8 public revokeThreshold;
    uint96 public nodeStakeWei;
    uint96 public forfeitWei;
    uint96 public rewardWei;
    uint64 public rewardEpoch;
    uint64 public rewardedAt;
    mapping(address operator => uint256) public rewardsOf;

    constructor(Config memory config) Typed("Cloister Registry") {
        uint256 count = config.builders.length;
        if (
            config.market == address(0) || count == 0 || count > BUILDERS_MAX || config.threshold == 0
                || config.threshold > count || config.revokeThreshold == 0 || config.revokeThreshold > config.threshold
                || config.delaySeconds > DELAY_SECONDS_MAX || config.exitDelaySeconds > EXIT_DELAY_SECONDS_MAX
                || config.nodeStakeWei > NODE_STAKE_WEI_MAX || config.forfeitWei > config.nodeStakeWei
                || config.rewardWei > NODE_STAKE_WEI_MAX
        ) revert ConfigOutOfBounds();
        market = config.market;
        threshold = config.threshold;
        revokeThreshold = config.revokeThreshold;
        (delaySeconds, delaySecondsMin) = (config.delaySeconds, config.delaySeconds);
        exitDelaySeconds = config.exitDelaySeconds;
        nodeStakeWei = config.nodeStakeWei;
        forfeitWei = config.forfeitWei;
        rewardWei = config.rewardWei;
        for (uint256 i; i < count; ++i) {
            _setBuilder(config.builders[i], true);
        }
        measurements.push();
        for (uint256 i; i < config.measurements.length; ++i) {
            _approveMeasurement(config.measurements[i], uint64(block.timestamp));
        }
        for (uint256 i; i < config.authorities.length; ++i) {
            _approveAuthority(config.authorities[i], uint64(block.timestamp));
        }
    }

    /// @inheritdoc IRegistry
    function decide(Decision calldata decision, bytes[] calldata signatures) external {
        if (decision.round != round) revert RoundStale(decision.round, round);
        bytes32 digest = _decisionDigest(decision);
        bool narrows =
            decision.kind == DECISION_REVOKE_MEASUREMENT || decision.kind == DECISION_REVOKE_AUTHORITY;
        _requireBuilders(digest, signatures, narrows ? revokeThreshold : threshold);
        uint64 effectiveAt = uint64(block.timestamp) + delaySeconds;
        if (decision.kind == DECISION_APPROVE_MEASUREMENT) {
            _approveMeasurement(decision.subject, effectiveAt);
        } else if (decision.kind == DECISION_REVOKE_MEASUREMENT) {
            _revokeMeasurement(decision.subject);
        } else if (decision.kind == DECISION_APPROVE_AUTHORITY) {
            _approveAuthority(_toAddress(decision.subject), effectiveAt);
        } else if (decision.kind == DECISION_REVOKE_AUTHORITY) {
            _revokeAuthority(_toAddress(decision.subject));
        } else {
            if (decision.kind < DECISION_ADD_BUILDER || decision.kind > DECISION_SET_REWARD) revert DecisionUnknown();
            if (announced[digest] != 0) revert DecisionAlreadyTaken();
            announced[digest] = effectiveAt;
            emit DecisionAnnounced(digest, decision.kind, decision.subject, decision.value, effectiveAt);
        }
    }

    /// @inheritdoc IRegistry
    function enact(Decision calldata decision) external {
        if (decision.round != round) revert RoundStale(decision.round, round);
        bytes32 digest = _decisionDigest(decision);
        uint64 effectiveAt = announced[digest];
        if (effectiveAt == 0) revert DecisionUnknown();
        if (block.timestamp < effectiveAt) revert DecisionNotYetEffective(effectiveAt);
        delete announced[digest];
        ++round;
        _apply(decision.kind, decision.subject, decision.value);
        emit DecisionEnacted(decision.kind, decision.subject, decision.value, round);
    }

    /// @inheritdoc IRegistry
    function registerNode(NodeCertificate calldata certificate, bytes calldata signature, string calldata endpoint)
        external
        payable
    {
        if (msg.sender != certificate.operator) revert NotOperator();
        if (bytes(endpoint).length > TEXT_BYTES_MAX) revert ConfigOutOfBounds();
        address authority = Signatures.recover(_digest(keccak256(abi.encode(CERTIFICATE_TYPEHASH, certificate))), signature);
        if (!isAuthority(authority)) revert AuthorityNotApproved(authority);
        if (certificate.notAfter < block.timestamp || certificate.notAfter > type(uint40).max) {
            revert CertificateExpired(certificate.notAfter);
        }
        if (!isMeasurementApproved(certificate.measurement)) revert MeasurementNotApproved(certificate.measurement);
        _admit(certificate);
        emit NodeRegistered(
            certificate.node,
            certificate.operator,
            certificate.keysDigest,
            certificate.certificateDigest,
            certificate.measurement,
            certificate.roles,
            certificate.issuedAt,
            certificate.notAfter,
            endpoint
        );
        emit StakeChanged(certificate.node, stakes[certificate.node].stakeWei);
    }

    /// @inheritdoc IRegistry
    function setEndpoint(address node, string calldata endpoint) external {
        if (msg.sender != nodes[node].operator) revert NotOperator();
        if (bytes(endpoint).length > TEXT_BYTES_MAX) revert ConfigOutOfBounds();
        emit NodeEndpointChanged(node, endpoint);
    }

    /// @inheritdoc IRegistry
    function revokeNode(address node, bytes[] calldata signatures) external {
        bytes32 digest = _digest(keccak256(abi.encode(REVOCATION_TYPEHASH, node)));
        bool byAuthority = signatures.length == 1 && isAuthority(Signatures.recover(digest, signatures[0]));
        if (!byAuthority) _requireBuilders(digest, signatures, revokeThreshold);
        NodeState storage state = nodes[node];
        if (state.status == 0 || state.status == BARRED) revert NodeBarred(node);
        stakes[node].revokedAt = uint40(block.timestamp);
        _deactivate(node, state, BARRED, REASON_REVOKED);
    }

    /// @inheritdoc IRegistry
    function prune(address node) external {
        NodeState storage state = nodes[node];
        if (state.status != ACTIVE || _holds(state)) revert NodeStillActive(node);
        _deactivate(node, state, INACTIVE, REASON_PRUNED);
    }

    /// @inheritdoc IRegistry
    function exit(address node) external {
        NodeState storage state = nodes[node];
        if (msg.sender != state.operator) revert NotOperator();
        StakeState storage stake = stakes[node];
        if (stake.releasableAt != 0) revert StakeLocked(stake.releasableAt);
        stake.releasableAt = uint40(block.timestamp) + exitDelaySeconds;
        _deactivate(node, state, state.status == BARRED ? BARRED : LEAVING, REASON_EXIT);
    }

    /// @inheritdoc IRegistry
    function releaseStake(address node) external {
        StakeState storage stake = stakes[node];
        uint64 releasableAt = stake.releasableAt;
        if (releasableAt == 0 || block.timestamp < releasableAt) revert StakeLocked(releasableAt);
        address operator = nodes[node].operator;
        uint256 amountWei = stake.stakeWei;
        stake.stakeWei = 0;
        stake.releasableAt = 0;
        // A node that left may come back, under any operator; a barred one may not.
        if (nodes[node].status != BARRED) delete nodes[node];
        emit StakeReleased(node, operator, amountWei);
        _send(operator, amountWei);
    }

    /// @inheritdoc IRegistry
    function startTerm(uint64 term, address leader, bytes[] calldata signatures) external {
        if (term <= fence.term) revert TermStale(term, fence.term);
        if (term > type(uint48).max) revert ConfigOutOfBounds();
        if (!_isVoter(leader)) revert VoterUnknown(leader);
        _requireQuorum(_voteDigest(term, leader), signatures);
        _setFence(leader, term, fence.revision);
        emit TermStarted(term, leader, signatures.length, voterCount);
    }

    /// @inheritdoc IRegistry
    function payRewards(
        uint64 epoch,
        address[] calldata nodes_,
        uint32[] calldata weights,
        bytes[] calldata signatures
    ) external {
        if (epoch <= rewardEpoch) revert EpochStale(epoch, rewardEpoch);
        if (block.timestamp < rewardedAt + REWARD_EPOCH_SECONDS) {
            revert EpochTooSoon(rewardedAt + uint64(REWARD_EPOCH_SECONDS));
        }
        if (nodes_.length != weights.length || nodes_.length > GROUP_MEMBERS_MAX) revert WeightsInvalid();
        bytes32 nodesHash = keccak256(abi.encodePacked(nodes_));
        bytes32 weightsHash = keccak256(abi.encodePacked(weights));
        _requireQuorum(_digest(keccak256(abi.encode(REWARDS_TYPEHASH, epoch, nodesHash, weightsHash))), signatures);
        (rewardEpoch, rewardedAt) = (epoch, uint64(block.timestamp));
        emit RewardsPaid(epoch, nodes_, _shareRewards(nodes_, weights));
        emit KittyChanged(kittyWei);
    }

    /// @inheritdoc IRegistry
    function withdrawRewards(address to) external {
        uint256 amountWei = rewardsOf[msg.sender];
        if (amountWei == 0) revert NothingOwed();
        rewardsOf[msg.sender] = 0;
        emit RewardWithdrawn(msg.sender, to, amountWei);
        _send(to, amountWei);
    }

    /// @inheritdoc IRegistry
    function fundKitty() external payable {
        kittyWei += msg.value;
        emit KittyChanged(kittyWei);
    }

    /// @inheritdoc IRegistry
    function declareGoal(string calldata goalId, bytes calldata document) external {
        uint256 length = bytes(goalId).length;
        if (length == 0 || length > TEXT_BYTES_MAX) revert ConfigOutOfBounds();
        bytes32 goal = keccak256(bytes(goalId));
        address owner = goalOwners[goal];
        if (owner != address(0) && owner != msg.sender) revert NotGoalOwner();
        if (owner == address(0)) goalOwners[goal] = msg.sender;
        emit GoalDeclared(goal, msg.sender, goalId, document);
    }

    /// @inheritdoc IRegistry
    function formGroup(Group calldata group, bytes calldata signature) external {
        if (group.term != fence.term) revert TermStale(group.term, fence.term);
        if (group.members.length > GROUP_MEMBERS_MAX) revert ConfigOutOfBounds();
        bytes32 goal = keccak256(bytes(group.goalId));
        bytes32 membersHash = keccak256(abi.encodePacked(group.members));
        bytes32 structHash = keccak256(abi.encode(GROUP_TYPEHASH, goal, group.epoch, group.term, membersHash));
        address leader = fence.leader;
        if (leader == address(0)) revert LeaderVoid();
        if (Signatures.recover(_digest(structHash), signature) != leader) revert SignatureInvalid();
        GroupState storage state = groups[goal];
        if (group.epoch <= state.epoch) revert EpochStale(group.epoch, state.epoch);
        for (uint256 i; i < group.members.length; ++i) {
            if (!isActive(group.members[i])) revert NodeNotActive(group.members[i]);
        }
        groups[goal] = GroupState({epoch: group.epoch, term: group.term, membersHash: membersHash});
        emit GroupFormed(goal, group.epoch, group.term, group.goalId, group.members);
    }

    /// @inheritdoc IRegistry
    function proveDoubleVote(
        uint64 term,
        address candidateA,
        bytes calldata signatureA,
        address candidateB,
        bytes calldata signatureB
    ) external {
        address voter = Signatures.recover(_voteDigest(term, candidateA), signatureA);
        address other = Signatures.recover(_voteDigest(term, candidateB), signatureB);
        if (candidateA == candidateB || voter != other || voter == address(0)) revert EvidenceRejected();
        _punish(voter, SLASH_DOUBLE_VOTE);
    }

    /// @inheritdoc IRegistry
    function slash(address node, uint8 reason) external {
        if (msg.sender != market) revert NotMarket();
        if (reason == SLASH_NO_REPORT) _forfeit(node);
        else if (reason == SLASH_REVOKED) _punishRevoked(node);
        else _punish(node, SLASH_DOUBLE_REPORT);
    }

    /// @inheritdoc IRegistry
    function authorize(address node, uint64 term) external view returns (address leader, address operator) {
        if (term != fence.term) revert TermStale(term, fence.term);
        leader = fence.leader;
        if (leader == address(0)) revert LeaderVoid();
        NodeState storage state = nodes[node];
        operator = state.operator;
        if (state.status != ACTIVE || state.roles & ROLE_RUNNER == 0 || !_holds(state)) revert NodeNotActive(node);
    }

    /// @inheritdoc IRegistry
    function lateAfter(address node) external view returns (uint64) {
        uint64 ofNode = stakes[node].revokedAt;
        uint64 ofMeasurement = measurements[nodes[node].measurementIndex].revokedAt;
        if (ofNode == 0 && ofMeasurement == 0) return 0;
        bool byNode = ofMeasurement == 0 || ofNode != 0 && ofNode < ofMeasurement;
        return (byNode ? ofNode : ofMeasurement) + LATE_SECONDS;
    }

    function isAuthority(address signer) public view returns (bool) {
        return _inForce(authorities[signer]);
    }

    function isMeasurementApproved(bytes32 measurement) public view returns (bool) {
        return _inForce(measurements[measurementIndexes[measurement]]);
    }

    function isActive(address node) public view returns (bool) {
        NodeState storage state = nodes[node];
        return state.status == ACTIVE && _holds(state);
    }

    /// @inheritdoc IRegistry
    function leaderOf(uint64 term) external view returns (address) {
        return term == fence.term ? fence.leader : address(0);
    }

    function currentTerm() external view returns (uint64 term, address leader) {
        return (fence.term, fence.leader);
    }

    /// @notice More than half of all active voters: two certificates for one term share a voter.
    function quorum() public view returns (uint256) {
        return voterCount / 2 + 1;
    }

    function groupOf(bytes32 goal) external view returns (uint64 epoch, uint64 term, bytes32 membersHash) {
        GroupState storage state = groups[goal];
        return (state.epoch, state.term, state.membersHash);
    }

    function stakeOf(address node) external view returns (uint256 stakeWei, uint64 releasableAt) {
        return (stakes[node].stakeWei, stakes[node].releasableAt);
    }

    function domainSeparator() external view returns (bytes32) {
        return _domainSeparator();
    }

    /// Each share is rounded down; what remains stays in the kitty.
    function _shareRewards(address[] calldata nodes_, uint32[] calldata weights) private returns (uint256[] memory shares) {
        uint256 budgetWei = kittyWei < rewardWei ? kittyWei : rewardWei;
        uint256 total;
        for (uint256 i; i < weights.length; ++i) {
            if (i != 0 && nodes_[i] <= nodes_[i - 1]) revert WeightsInvalid();
            total += weights[i];
        }
        if (total == 0) revert WeightsInvalid();
        shares = new uint256[](weights.length);
        for (uint256 i; i < nodes_.length; ++i) {
            address operator = nodes[nodes_[i]].operator;
            if (operator == address(0) || nodes[nodes_[i]].status == BARRED) revert NodeBarred(nodes_[i]);
            uint256 shareDown = budgetWei * weights[i] / total;
            shares[i] = shareDown;
            rewardsOf[operator] += shareDown;
            kittyWei -= shareDown;
        }
    }

    /// The market keeps what each settlement asks, so that a settlement need not ask here.
    function _setFence(address leader, uint64 term, uint16 revision) private {
        fence = Fence({leader: leader, term: term, revision: revision});
        IMarket(market).setFence(leader, uint48(term), revision);
    }

    function _setRunner(address node, address operator, uint40 notAfter) private {
        IMarket(market).setRunner(node, operator, notAfter, fence.revision);
    }

    function _admit(NodeCertificate calldata certificate) private {
        NodeState storage state = nodes[certificate.node];
        StakeState storage stake = stakes[certificate.node];
        if (state.status == BARRED) revert NodeBarred(certificate.node);
        if (state.operator != address(0) && state.operator != certificate.operator) revert NotOperator();
        if (certificate.issuedAt <= stake.issuedAt) revert CertificateNotNewer(certificate.issuedAt);
        uint256 stakeWei = uint256(stake.stakeWei) + msg.value;
        if (stakeWei < nodeStakeWei || stakeWei > type(uint96).max) revert StakeTooLow(stakeWei, nodeStakeWei);
        stakes[certificate.node] =
            StakeState({stakeWei: uint96(stakeWei), releasableAt: 0, issuedAt: certificate.issuedAt, revokedAt: 0});
        if (state.status == ACTIVE && state.roles & ROLE_VOTER != 0) --voterCount;
        if (certificate.roles & ROLE_VOTER != 0) ++voterCount;
        nodes[certificate.node] = NodeState({
            operator: certificate.operator,
            notAfter: uint40(certificate.notAfter),
            measurementIndex: measurementIndexes[certificate.measurement],
            roles: certificate.roles,
            status: ACTIVE
        });
        bool runs = certificate.roles & ROLE_RUNNER != 0;
        _setRunner(certificate.node, runs ? certificate.operator : address(0), uint40(certificate.notAfter));
    }

    function _deactivate(address node, NodeState storage state, uint8 status, uint8 reason) private {
        if (state.status == ACTIVE && state.roles & ROLE_VOTER != 0) --voterCount;
        state.status = status;
        _setRunner(node, address(0), 0);
        emit NodeDeactivated(node, reason);
        _voidTermOf(node);
    }

    function _voidTermOf(address node) private {
        if (fence.leader != node || node == address(0)) return;
        _setFence(address(0), fence.term, fence.revision);
        emit TermVoided(fence.term, node);
    }

    /// Takes the whole stake and bars the node: its software or its hardware is broken.
    function _punish(address node, uint8 reason) private {
        NodeState storage state = nodes[node];
        if (state.status == 0 || state.status == BARRED) revert EvidenceRejected();
        _deactivate(node, state, BARRED, REASON_SLASHED);
        _takeStake(node, stakes[node].stakeWei, reason);
    }

    /// A revoked node may be barred already; what is left of its stake is taken once.
    function _punishRevoked(address node) private {
        uint256 stakeWei = stakes[node].stakeWei;
        if (stakeWei == 0) revert EvidenceRejected();
        if (nodes[node].status != BARRED) _deactivate(node, nodes[node], BARRED, REASON_SLASHED);
        _takeStake(node, stakeWei, SLASH_REVOKED);
    }

    /// What the builders revoked cannot report, and so its nodes cannot be blamed.
    function _forfeit(address node) private {
        if (measurements[nodes[node].measurementIndex].revokedAt != 0) revert EvidenceRejected();
        uint256 stakeWei = stakes[node].stakeWei;
        _takeStake(node, stakeWei < forfeitWei ? stakeWei : forfeitWei, SLASH_NO_REPORT);
        NodeState storage state = nodes[node];
        if (state.status == ACTIVE && stakes[node].stakeWei < nodeStakeWei) {
            _deactivate(node, state, INACTIVE, REASON_STAKE);
        }
    }

    function _takeStake(address node, uint256 amountWei, uint8 reason) private {
        stakes[node].stakeWei -= uint96(amountWei);
        kittyWei += amountWei;
        emit NodeSlashed(node, reason, amountWei);
        emit StakeChanged(node, stakes[node].stakeWei);
        emit KittyChanged(kittyWei);
    }

    function _apply(uint8 kind, bytes32 subject, uint256 value) private {
        if (kind == DECISION_ADD_BUILDER) _setBuilder(_toAddress(subject), true);
        else if (kind == DECISION_REMOVE_BUILDER) _setBuilder(_toAddress(subject), false);
        else if (kind == DECISION_SET_THRESHOLD) threshold = uint8(_bounded(value, revokeThreshold, builderCount));
        else if (kind == DECISION_SET_REVOKE_THRESHOLD) revokeThreshold = uint8(_bounded(value, 1, threshold));
        else if (kind == DECISION_SET_NODE_STAKE) nodeStakeWei = uint96(_bounded(value, forfeitWei, NODE_STAKE_WEI_MAX));
        else if (kind == DECISION_SET_FORFEIT) forfeitWei = uint96(_bounded(value, 0, nodeStakeWei));
        else if (kind == DECISION_SET_REWARD) rewardWei = uint96(_bounded(value, 0, NODE_STAKE_WEI_MAX));
        else delaySeconds = uint32(_bounded(value, delaySecondsMin, DELAY_SECONDS_MAX));
    }

    function _setBuilder(address builder, bool member) private {
        if (builder == address(0) || isBuilder[builder] == member) revert DecisionAlreadyTaken();
        isBuilder[builder] = member;
        if (member) ++builderCount;
        else --builderCount;
        if (builderCount < threshold && !member || builderCount > BUILDERS_MAX) revert ConfigOutOfBounds();
    }

    function _approveMeasurement(bytes32 measurement, uint64 effectiveAt) private {
        if (measurementIndexes[measurement] != 0) revert DecisionAlreadyTaken();
        measurementIndexes[measurement] = SafeCast.toUint24(measurements.length);
        measurements.push(Approval({effectiveAt: effectiveAt, revokedAt: 0}));
        emit MeasurementApproved(measurement, effectiveAt);
    }

    function _revokeMeasurement(bytes32 measurement) private {
        uint24 index = measurementIndexes[measurement];
        if (index == 0 || measurements[index].revokedAt != 0) revert MeasurementNotApproved(measurement);
        measurements[index].revokedAt = uint64(block.timestamp);
        uint16 revision = fence.revision;
        _setFence(fence.leader, fence.term, revision == type(uint16).max ? revision : revision + 1);
        emit MeasurementRevoked(measurement);
        if (nodes[fence.leader].measurementIndex == index) _voidTermOf(fence.leader);
    }

    function _approveAuthority(address authority, uint64 effectiveAt) private {
        if (authority == address(0) || authorities[authority].effectiveAt != 0) revert DecisionAlreadyTaken();
        authorities[authority] = Approval({effectiveAt: effectiveAt, revokedAt: 0});
        emit AuthorityApproved(authority, effectiveAt);
    }

    function _revokeAuthority(address authority) private {
        if (authorities[authority].effectiveAt == 0 || authorities[authority].revokedAt != 0) {
            revert AuthorityNotApproved(authority);
        }
        authorities[authority].revokedAt = uint64(block.timestamp);
        emit AuthorityRevoked(authority);
    }

    function _requireQuorum(bytes32 digest, bytes[] calldata signatures) private view {
        address last;
        for (uint256 i; i < signatures.length; ++i) {
            address voter = Signatures.recover(digest, signatures[i]);
            if (voter <= last) revert SignersNotAscending();
            if (!_isVoter(voter)) revert VoterUnknown(voter);
            last = voter;
        }
        if (signatures.length < quorum()) revert QuorumNotMet(signatures.length, quorum());
    }

    function _requireBuilders(bytes32 digest, bytes[] calldata signatures, uint256 wanted) private view {
        address last;
        for (uint256 i; i < signatures.length; ++i) {
            address builder = Signatures.recover(digest, signatures[i]);
            if (builder <= last) revert SignersNotAscending();
            if (!isBuilder[builder]) revert SignatureInvalid();
            last = builder;
        }
        if (signatures.length < wanted) revert ThresholdNotMet(signatures.length, wanted);
    }

    function _isVoter(address node) private view returns (bool) {
        return isActive(node) && nodes[node].roles & ROLE_VOTER != 0;
    }

    function _holds(NodeState storage state) private view returns (bool) {
        return block.timestamp <= state.notAfter && _inForce(measurements[state.measurementIndex]);
    }

    function _inForce(Approval storage approval) private view returns (bool) {
        uint64 effectiveAt = approval.effectiveAt;
        return effectiveAt != 0 && block.timestamp >= effectiveAt && approval.revokedAt == 0;
    }

    function _decisionDigest(Decision calldata decision) private view returns (bytes32) {
        return _digest(keccak256(abi.encode(DECISION_TYPEHASH, decision)));
    }

    function _voteDigest(uint64 term, address candidate) private view returns (bytes32) {
        return _digest(keccak256(abi.encode(VOTE_TYPEHASH, term, candidate)));
    }

    function _bounded(uint256 value, uint256 min, uint256 max) private pure returns (uint256) {
        if (value < min || value > max) revert ConfigOutOfBounds();
        return value;
    }

    function _toAddress(bytes32 subject) private pure returns (address) {
        if (uint256(subject) >> 160 != 0) revert DecisionUnknown();
        return address(uint160(uint256(subject)));
    }

    function _send(address to, uint256 amountWei) private {
        if (amountWei == 0) return;
        (bool sent,) = to.call{value: amountWei}("");
        if (!sent) revert TransferFailed();
    }
}
