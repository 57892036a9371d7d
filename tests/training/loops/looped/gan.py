"""A GAN on a mixture of eight Gaussians in the plane: two networks, two optimizers, two losses."""

import math

import torch
from torch import nn

import steepest

latent, batch_size, iterations = 8, 64, 200
criterion = nn.BCEWithLogitsLoss()
angles = torch.arange(8) * math.pi / 4
centres = torch.stack([angles.cos(), angles.sin()], 1)


def real_batch(n):
    return centres[torch.randint(8, (n,))] + 0.05 * torch.randn(n, 2)


@steepest.loop(metric="distance", steps=iterations)
def train(run):
    netG = nn.Sequential(nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    netD = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizerD = run.optimizer(netD, name="discriminator")
    optimizerG = run.optimizer(netG, name="generator")
    schedulerD, schedulerG = run.scheduler(optimizerD), run.scheduler(optimizerG)
    for _ in range(run.steps):
        netD.zero_grad()
        fake = netG(torch.randn(batch_size, latent))
        errD_real = criterion(netD(real_batch(batch_size)), torch.ones(batch_size, 1))
        errD_fake = criterion(netD(fake.detach()), torch.zeros(batch_size, 1))
        errD = errD_real + errD_fake
        errD.backward()
        optimizerD.step()
        netG.zero_grad()
        errG = criterion(netD(fake), torch.ones(batch_size, 1))
        errG.backward()
        optimizerG.step()
        schedulerD.step(), schedulerG.step()
        run.report(errG)
    with torch.no_grad():
        distance = torch.cdist(netG(torch.randn(500, latent)), centres)
    return distance.min(1).values.mean().item() + distance.min(0).values.mean().item()


if __name__ == "__main__":
    print(train())
