"""The command line `sparring`: what each command does, shown in the terminal."""
