"""Writing plug-in files for the tests of sweeps."""


def write_plugin(folder, name, text):
    lines = text.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.py"
    file.write_text("\n".join(line[indent:] for line in lines) + "\n")
    return file
