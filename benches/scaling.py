"""Time against size and threads; called by scaling.sh, which says how."""
import chart
from measure import MIB, arguments, bench, machine, median, save, say, seconds, table

NEW = "registry.example.com/bench:2"


def main():
    parser = arguments("scaling.sh")
    parser.add_argument("--sizes", default="100,1000,4000,16000", metavar="MB,MB…")
    parser.add_argument("--verify-all", action="store_true")
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    lines = {}

    def add(size, commands, before=lambda: None):
        for name, times in place.alternate(args.rounds, commands, before).items():
            lines.setdefault(name, []).append([size, median(times)])

    with bench() as place, place.file_system("xfs", max(sizes) * MIB * 2 + (1 << 30)) as xfs:
        for size in sizes:
            say(f"{size} MB")
            place.make("in.tar", "--layer-mib", max(size // 8, 1), "--content", "zeros")
            add(size, {"ls": "OCITAR ls in.tar",
                       "retag --in-place=journal": "OCITAR retag --in-place=journal in.tar example.com/bench:TURN"})
            if xfs:
                place.run("cp --sparse=always in.tar xfs/in.tar")
                place.run("sync -f xfs/in.tar")
                add(size, {"retag, reflink": f"OCITAR retag xfs/in.tar xfs/out.tar {NEW}"},
                    lambda: place.remove("xfs/out.tar"))
                place.remove("xfs/in.tar", "xfs/out.tar")
            place.remove("in.tar")
            if size <= 4000 or args.verify_all:
                place.make("in.tar", "--layer-mib", max(size // 8, 1), *(["--content", "zeros"] if size > 4000 else []))
                add(size, {f"verify, {jobs} thread{'s' * (jobs > 1)}": f"OCITAR verify --jobs {jobs} in.tar" for jobs in (1, 2)})
                place.remove("in.tar")

    data = {"machine": machine(), "rounds": args.rounds, "lines": lines, "notes": place.notes}
    print(f"{data['machine']}; medians of {args.rounds} rounds\n")
    cells = {name: {size: seconds(took) for size, took in points} for name, points in lines.items()}
    table([("work", *(f"{size} MB" for size in sizes)),
           *((name, *(row.get(size, "-") for size in sizes)) for name, row in cells.items())], left=(0,))
    for note in place.notes:
        print(note)
    save(args, data, chart.curves)


if __name__ == "__main__":
    main()
