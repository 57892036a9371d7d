"""Deep Q-learning on a pole of ten lines of code: replay memory, a target network, an exploring policy."""

import math
import random
from collections import deque

import numpy as np
import torch
from torch import nn

import steepest

BATCH_SIZE, GAMMA, EPS_START, EPS_END, EPS_DECAY, TAU, STEPS = 32, 0.95, 0.9, 0.05, 100, 0.02, 250


class Pole:
    def reset(self):
        (self.angle, self.speed), self.time = np.random.uniform(-0.1, 0.1, 2), 0
        return self.observed()

    def observed(self):
        return np.array([5 * self.angle, 20 * self.speed], dtype=np.float32)

    def step(self, action):
        self.speed += 0.05 * math.sin(self.angle) + (0.025 if action else -0.025)
        self.angle, self.time = self.angle + self.speed, self.time + 1
        done = abs(self.angle) > 0.6 or self.time == 60
        return self.observed(), 1.0 - abs(self.angle), done


def network():
    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))


def evaluate(policy_net, episodes=10):
    total, env = 0.0, Pole()
    for _ in range(episodes):
        state, done = env.reset(), False
        while not done:
            state, reward, done = env.step(policy_net(torch.from_numpy(state)).argmax().item())
            total += reward
    return total / episodes


@steepest.loop(metric="reward", direction="max", steps=STEPS)
def train(run):
    policy_net, target_net, memory, env = network(), network(), deque(maxlen=2000), Pole()
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = run.optimizer(policy_net)
    scheduler = run.scheduler(optimizer)
    state = env.reset()
    for step in range(run.steps + BATCH_SIZE):
        threshold = EPS_END + (EPS_START - EPS_END) * math.exp(-step / EPS_DECAY)
        greedy = random.random() > threshold
        action = policy_net(torch.from_numpy(state)).argmax().item() if greedy else random.randrange(2)
        observed, reward, done = env.step(action)
        memory.append((state, action, reward, observed, done))
        state = env.reset() if done else observed
        if len(memory) <= BATCH_SIZE:
            continue
        s, a, r, n, d = (torch.tensor(np.array(x)) for x in zip(*random.sample(memory, BATCH_SIZE), strict=True))
        values = policy_net(s).gather(1, a[:, None])[:, 0]
        with torch.no_grad():
            expected = r.float() + GAMMA * target_net(n).max(1).values * ~d
        loss = nn.functional.smooth_l1_loss(values, expected)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
        optimizer.step()
        scheduler.step()
        run.report(loss)
        for target, own in zip(target_net.parameters(), policy_net.parameters(), strict=True):
            target.data.lerp_(own.data, TAU)
    return evaluate(policy_net)


if __name__ == "__main__":
    print(train())
