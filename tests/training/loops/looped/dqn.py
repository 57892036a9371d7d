"""Deep Q-learning on a pole to balance: replay memory, a target network, an exploring policy."""

import math
import random
from collections import deque

import numpy as np
import torch
from torch import nn

import steepest

BATCH_SIZE, GAMMA, TAU, STEPS = 32, 0.9, 0.05, 300
EPS_START, EPS_END, EPS_DECAY = 0.9, 0.05, 100


class Pole:
    def reset(self):
        self.angle, self.speed = np.random.uniform(-0.1, 0.1, 2)
        self.time = 0
        return self.observation()

    def observation(self):
        return np.array([5 * self.angle, 20 * self.speed], dtype=np.float32)

    def step(self, action):
        self.speed += 0.05 * math.sin(self.angle) + (0.025 if action else -0.025)
        self.angle += self.speed
        self.time += 1
        done = abs(self.angle) > 0.6 or self.time == 60
        return self.observation(), 1.0 - abs(self.angle), done


def network():
    return nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


@torch.no_grad()
def greedy(policy_net, state):
    return policy_net(torch.from_numpy(state)).argmax().item()


def sample(memory):
    batch = random.sample(memory, BATCH_SIZE)
    return (torch.from_numpy(np.array(column)) for column in zip(*batch, strict=True))


def evaluate(policy_net, episodes=10):
    env = Pole()
    total = 0.0
    for _ in range(episodes):
        state, done = env.reset(), False
        while not done:
            state, reward, done = env.step(greedy(policy_net, state))
            total += reward
    return float(total / episodes)


@steepest.loop(metric="reward", direction="max", steps=STEPS)
def train(run):
    policy_net, target_net = network(), network()
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = run.optimizer(policy_net)
    scheduler = run.scheduler(optimizer)
    memory, env = deque(maxlen=2000), Pole()
    state = env.reset()
    for step in range(BATCH_SIZE - 1 + run.steps):
        epsilon = EPS_END + (EPS_START - EPS_END) * math.exp(-step / EPS_DECAY)
        action = random.randrange(2) if random.random() < epsilon else greedy(policy_net, state)
        next_state, reward, done = env.step(action)
        memory.append((state, action, np.float32(reward), next_state, done))
        state = env.reset() if done else next_state
        if len(memory) < BATCH_SIZE:
            continue
        states, actions, rewards, next_states, dones = sample(memory)
        values = policy_net(states).gather(1, actions[:, None])[:, 0]
        with torch.no_grad():
            expected = rewards + GAMMA * target_net(next_states).max(1).values * ~dones
        loss = nn.functional.smooth_l1_loss(values, expected)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy_net.parameters(), 100)
        optimizer.step()
        scheduler.step()
        run.report(loss)
        for slow, fast in zip(target_net.parameters(), policy_net.parameters(), strict=True):
            slow.data.lerp_(fast.data, TAU)
    return evaluate(policy_net)


if __name__ == "__main__":
    print(train())
