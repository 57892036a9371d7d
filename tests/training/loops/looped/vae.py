"""A variational autoencoder on images of digits: reconstruction and KL terms, three passes over the data."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import steepest

images = torch.tensor(load_digits().data, dtype=torch.float32) / 16
train_set, test_set = images[:1400], images[1400:]
batch_size, epochs = 64, 3


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64, 48), nn.Linear(48, 6), nn.Linear(48, 6)
        self.fc3, self.fc4 = nn.Linear(6, 48), nn.Linear(48, 64)

    def forward(self, x):
        h = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    bce = F.binary_cross_entropy(recon_x, x, reduction="none").sum(1)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), 1)
    return bce + kld


@steepest.loop(metric="loss", epochs=epochs)
def train(run):
    model = VAE()
    optimizer = run.optimizer(model)
    run.steps_per_epoch(-(-len(train_set) // batch_size))
    scheduler = run.scheduler(optimizer)
    for _ in range(run.epochs):
        model.train()
        for rows in torch.randperm(len(train_set)).split(batch_size):
            data = train_set[rows]
            optimizer.zero_grad()
            recon, mu, logvar = model(data)
            loss = loss_function(recon, data, mu, logvar).mean()
            loss.backward()
            optimizer.step()
            scheduler.step()
            run.report(loss)
    model.eval()
    with torch.no_grad():
        recon, mu, logvar = model(test_set)
        return loss_function(recon, test_set, mu, logvar).mean().item()


if __name__ == "__main__":
    print(train())
