"""The model card: a policy for people who did not train it (Mitchell et al. 2019, "Model Cards for Model Reporting")."""
