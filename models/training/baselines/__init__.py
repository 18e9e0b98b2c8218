"""Trainings of DeepFillv2 and SC-FEGAN."""
