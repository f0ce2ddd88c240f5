"""History of another platform, read through its public interface and sent to ours as OTLP: `bring.py` does it, one file for each product
knows what that product calls things."""
