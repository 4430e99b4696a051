"""The processes of this machine: listed, looked into, waited for, stopped."""
