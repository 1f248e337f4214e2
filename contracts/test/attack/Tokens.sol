// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Tokens that behave as tokens in the wild do.
contract Token {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function mint(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external virtual returns (bool) {
        _move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external virtual returns (bool) {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
        return true;
    }

    function _move(address from, address to, uint256 amount) internal virtual {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Keeps a hundredth of each transfer.
contract FeeToken is Token {
    function _move(address from, address to, uint256 amount) internal override {
        balanceOf[from] -= amount;
        balanceOf[to] += amount - amount / 100;
    }
}

/// @notice Credits more than it moves.
contract GenerousToken is Token {
    function _move(address from, address to, uint256 amount) internal override {
        balanceOf[from] -= amount;
        balanceOf[to] += 2 * amount;
    }
}

/// @notice Says no instead of reverting.
contract FalseToken is Token {
    function transferFrom(address, address, uint256) external pure override returns (bool) {
        return false;
    }

    function transfer(address, uint256) external pure override returns (bool) {
        return false;
    }
}

/// @notice Halves everybody's balance on demand.
contract RebasingToken is Token {
    function halve(address account) external {
        balanceOf[account] /= 2;
    }
}

/// @notice Returns nothing, as the oldest tokens do.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;

    function mint(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Calls back into whoever is told before it moves anything.
contract CallingToken is Token {
    address private target;
    bytes private data;
    bool public called;
    bool public succeeded;

    function callBack(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function _move(address from, address to, uint256 amount) internal override {
        if (target != address(0)) {
            address aim = target;
            target = address(0);
            called = true;
            (succeeded,) = aim.call(data);
        }
        super._move(from, to, amount);
    }
}

/// @notice Keeps a list of accounts that may not receive.
contract BlockingToken is Token {
    mapping(address account => bool) private blocked;

    function block_(address account) external {
        blocked[account] = true;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!blocked[to], "blocked");
        super._move(from, to, amount);
    }
}

/// @notice Stops working altogether on demand.
contract StoppingToken is Token {
    bool private stopped;

    function stop() external {
        stopped = true;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!stopped, "stopped");
        super._move(from, to, amount);
    }
}

/// @notice Calls back into whoever is told instead of granting a permit.
contract PermitCallingToken is Token {
    address private target;
    bytes private data;
    bool public succeeded;

    function callBack(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external {
        (succeeded,) = target.call(data);
    }
}
