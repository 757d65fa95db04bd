namespace CrashingSandboxer;

/// <summary>An OCI runtime without containers: plain processes, behind the command line of runc as far as the library uses it.</summary>
public static class ScriptRuntime
{
    /// <summary>Writes it; its processes are <c>sleep SECONDS</c>, by which they are told from all others.</summary>
    public static void Write(string path, string seconds)
    {
        File.WriteAllText(path, Text.Replace("SECONDS", seconds, StringComparison.Ordinal));
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    private const string Text = """
        #!/bin/sh
        log=/dev/null
        while [ $# -gt 0 ]; do
            case $1 in
            --root) root=$2; shift;;
            --log) log=$2; shift;;
            --pid-file) pidfile=$2; shift;;
            --log-format|--bundle|--process|--console-socket|--resources) shift;;
            --force) force=1;;
            --*) ;;
            *) words="$words $1";;
            esac
            shift
        done
        set -- $words
        d=$root/$2
        fail() { echo "{\"level\":\"error\",\"msg\":\"$1\"}" >>$log; exit 1; }
        alive() { read -r p c s rest <"/proc/$(cat $d/pid)/stat" 2>/dev/null && [ "$s" != Z ]; }
        spawn() { sleep SECONDS </dev/null >/dev/null 2>&1 & echo $! >$1.new; mv $1.new $1; }
        [ $1 = create ] || [ -d $d ] || fail "container does not exist"
        case $1 in
        create) mkdir $d || fail "container already exists"; spawn $d/pid; echo created >$d/status; cp $d/pid $pidfile;;
        start) echo running >$d/status;;
        exec) alive || fail "container is not running"; spawn $pidfile; cat $pidfile >>$d/execs;;
        pause) echo paused >$d/status;;
        resume) echo running >$d/status;;
        state) alive && s=$(cat $d/status) || s=stopped; echo "{\"status\":\"$s\"}";;
        delete)
            [ -s $d/pid ] || { rmdir $d 2>/dev/null; rm -rf $d; exit 0; }
            [ -n "$force" ] || [ "$(cat $d/status 2>/dev/null)" = created ] || ! alive || fail "container is not stopped"
            # As the end of a pid namespace: all of it goes.
            kill -9 $(cat $d/pid $d/execs 2>/dev/null) 2>/dev/null
            rm -rf $d;;
        *) fail "what?";;
        esac
        """ + "\n";
}
