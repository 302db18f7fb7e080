"""One class for each method of `TwoFactor`: what it checks, what it draws, what it decides."""
