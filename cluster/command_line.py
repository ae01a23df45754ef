"""Commands that refuse an option whose value is given twice; click itself takes the last one without a word."""

from collections import Counter

import click


class Command(click.Command):
    """A command whose options with a value are given once, unless they may be repeated."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line, see `click.Command.parse_args`."""
        if not ctx.resilient_parsing:
            # Parsed a second time: this order alone still says which option came how often.
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for option, count in Counter(order).items():
                takes_one = isinstance(option, click.Option) and not (option.is_flag or option.multiple or option.count)
                if count > 1 and takes_one:
                    name = max(option.opts, key=len)
                    raise click.UsageError(f"{name} is given {count} times, and one value is taken; give it once.", ctx)
        return super().parse_args(ctx, args)


class Group(Command, click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type
